"""Which samples a choice is judged on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

__all__ = ["drawn"]


def drawn(part: Any, most: int, seed: int) -> Any:
    """At most `most` samples, as many of each class as can be; of numbers, evenly over time."""
    if len(part) <= most:
        return part
    if not hasattr(part, "labels"):
        places = np.linspace(0, len(part) - 1, most).astype(int).tolist()
        return replace(part, targets=part.targets[places], indices=tuple(part.indices[i] for i in places))
    generator = np.random.default_rng([seed, 11])
    labels = np.array([part.classes.index(label) for label in part.labels])
    turn = np.empty(len(labels), np.int64)
    for code in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == code))
        turn[members] = np.arange(len(members))
    places = sorted(np.lexsort((generator.permutation(len(labels)), turn))[:most].tolist())
    return replace(
        part, labels=tuple(part.labels[i] for i in places), indices=tuple(part.indices[i] for i in places)
    )
