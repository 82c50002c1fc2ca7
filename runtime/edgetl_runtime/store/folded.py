"""What the oldest samples taught, as one additive sum, after their features had to make room."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

from edgetl_runtime.store.database import Database
from edgetl_runtime.store.quarantine import quarantine
from edgetl_runtime.store.schema import seal

__all__ = ["Folded", "FoldedSums"]

_MOST = 2**53


@dataclass(frozen=True)
class Folded:
    """The sum over `samples` training samples, the last of them with id `upto`.

    `labels` counts them by label, `sources` names where they came from; `state` is the additive statistics as
    safetensors. One of them can no longer be forgotten alone.
    """

    upto: int
    samples: int
    labels: Dict[str, int] = field(default_factory=dict)
    sources: Tuple[str, ...] = ()
    feature_space: str = ""
    state: bytes = b""


class FoldedSums:
    """The table `statistics`: one row, or none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Optional[Folded]:
        """The sum, or None; a damaged one is set aside and reported."""
        rows = self._database.query("SELECT * FROM statistics WHERE id = 1")
        if not rows:
            return None
        try:
            if rows[0][-1] != seal("statistics", rows[0][:-1]):
                raise ValueError("it does not match its hash")
            _, upto, samples, labels, sources, space, state, _ = rows[0]
            counts, origins = dict(json.loads(labels)), tuple(json.loads(sources))
            numbers = all(type(number) is int and 0 <= number < _MOST for number in (upto, samples, *counts.values()))
            if not numbers or not all(isinstance(source, str) for source in origins):
                raise ValueError("it counts what cannot be counted")
            return Folded(upto, samples, counts, origins, space, bytes(state))
        except (RecursionError, TypeError, ValueError):
            quarantine(self._database, "statistics", 1, "the sum of the oldest samples")
            return None

    def put(self, folded: Folded) -> None:
        """Replace the sum."""
        row = (
            1, folded.upto, folded.samples, json.dumps(folded.labels, sort_keys=True),
            json.dumps(sorted(folded.sources)), folded.feature_space, folded.state,
        )  # fmt: skip
        with self._database.change():
            self._database.execute(
                "INSERT OR REPLACE INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal("statistics", row))
            )
