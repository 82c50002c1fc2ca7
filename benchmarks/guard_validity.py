"""Champion and challenger equally good, ten thousand streams: how often does the guard decide wrongly, ever?

All streams at once in NumPy, by the guard's own stakes; a few of them also through the guard itself, which promotes
only later than that, since it asks for more than the bet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from edgetl_runtime.guard import POLICIES, Guard, Trial
from edgetl_runtime.guard.betting import STAKES, STARTS

STREAMS, LENGTH, CLASSES = 10_000, 1_000, 5
DISCORDANT = (0.02, 0.1, 0.3, 1.0)
CHECKED = 50


def ever(differences: np.ndarray, risk: float) -> np.ndarray:
    """Where (S) the bet on differences (S, T) reached 1 / risk at any time, as positions; T when it never did."""
    total = np.zeros(differences.shape)
    for start, part in STARTS:
        for stake, share in STAKES:
            logs = np.log1p(stake * differences)
            logs[:, :start] = 0.0
            total += part * share * np.exp(np.cumsum(logs, axis=1))
    reached = total >= 1.0 / risk
    return np.where(reached.any(axis=1), reached.argmax(axis=1), differences.shape[1])


def validity(streams: int = STREAMS) -> dict[str, Any]:
    policy = POLICIES["guarded"]
    promised = {"promote": policy.promote, "confirm": policy.confirm, "roll back": policy.roll_back}
    figures: dict[str, Any] = {"streams": streams, "length": LENGTH, "promised": promised, "wrong": {}}
    for share in DISCORDANT:
        rng = np.random.default_rng([7, round(1000 * share)])
        signs = rng.integers(0, 2, (streams, LENGTH)) * 2 - 1
        differences = np.where(rng.random((streams, LENGTH)) < share, signs, 0).astype(np.float64)
        wrong = {}
        for name, risk in promised.items():
            parts = [ever(part, risk) for part in np.array_split(differences, 10)]
            wrong[name] = float(np.mean(np.concatenate(parts) < LENGTH))
        figures["wrong"][str(share)] = wrong
        for stream in differences[:CHECKED]:
            assert first_promotion(stream, rng) >= int(ever(stream[None], policy.promote)[0])
    return figures


def first_promotion(differences: np.ndarray, rng: np.random.Generator) -> int:
    """When the guard itself promotes; the length of the stream when it never does."""
    guard = Guard("guarded")
    for position, difference in enumerate(differences[:200]):
        label = int(rng.integers(CLASSES))
        guard.add([Trial(label, float(difference > 0), float(difference < 0), float(difference > 0))])
        if guard.judge().decision == "promote":
            return position
    return len(differences)
