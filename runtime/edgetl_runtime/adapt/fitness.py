"""Whether a buffer of unlabelled samples may be learnt from at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.restandardise import aligned
from edgetl_runtime.adapt.situation import Situation
from edgetl_runtime.adapt.table import ADAPTERS

__all__ = ["Fitness", "fitness", "unfit"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fitness:
    """What a buffer looks like: `samples`, their `spread` as a share of the source's total variance, and `skew`:
    how far the predicted classes are from the source's in total variation, before and after alignment (root
    mean square).
    """

    samples: int
    spread: float
    skew: float


def fitness(situation: Situation) -> Fitness:
    """The figures of the buffer. O(N K D)."""
    rows = situation.rows
    if len(rows) < 2:
        return Fitness(len(rows), 0.0, 1.0)
    source = situation.source.moments
    whole = float(np.diagonal(source.gram).sum() / max(source.count, 1e-300))
    whole -= float(((source.sum / max(source.count, 1e-300)) ** 2).sum())
    spread = float(rows.var(axis=0).sum()) / whole if whole > 0 else 0.0
    if not situation.head.classes:
        return Fitness(len(rows), spread, 0.0)
    counts = dict(zip(situation.source.classes, situation.source.counts))
    share = np.array([float(counts.get(label, 0.0)) for label in situation.head.classes])
    share = share / share.sum() if share.sum() > 0 else np.full(len(share), 1.0 / len(share))
    head, moved = aligned(situation)
    # The head before alignment may be wrong everywhere, the alignment may force a part of the classes on all.
    looks = [situation.head.predict_proba(rows)]
    if head.classes == situation.head.classes:
        looks.append(head.predict_proba(moved.apply(rows)))
    skews = [_distance(look, share) for look in looks]
    return Fitness(len(rows), spread, float(np.sqrt(np.mean(np.square(skews)))))


def unfit(
    name: str,
    situation: Situation,
    figures: Fitness,
    least: int = 20,
    least_spread: float = 0.1,
    most_skew: float = 0.35,
) -> Tuple[str, ...]:
    """Why the row `name` must not be tried on the buffer; empty when it may.

    Too few samples; frames that hardly vary (a dead sensor, one scene); and for rows that use the target's own
    statistics a buffer in which whole classes are missing.
    """
    row = ADAPTERS[name]
    if row.batchwise:
        return ()
    reasons = []
    if figures.samples < least:
        reasons.append(f"{figures.samples} unlabelled samples, at least {least} are needed")
    elif figures.spread < least_spread:
        reasons.append(
            f"the samples vary {100 * figures.spread:.2g} % as much as the source did: one scene, or a dead sensor"
        )
    elif row.moments and figures.skew > most_skew:
        reasons.append(
            f"the predicted classes are {100 * figures.skew:.0f} % away from the source's: some classes are missing"
        )
    if row.needs_reference and (situation.reference is None or not len(situation.reference.sight)):
        reasons.append("it needs held-out source samples, and there are none")
    return tuple(reasons)


def _distance(probabilities: Array, share: Array) -> float:
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=len(share)) / len(probabilities)
    # What so few samples would differ by chance is not held against them.
    chance = 0.5 * float(np.sqrt(share * (1.0 - share) / len(probabilities)).sum()) * 0.8
    return max(0.0, 0.5 * float(np.abs(predicted - share).sum()) - chance)
