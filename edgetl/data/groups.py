"""Which groups of samples (persons, places, recordings) training never sees."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence

from edgetl_runtime.types import Label

__all__ = ["held_out_groups"]

_log = logging.getLogger(__name__)


def held_out_groups(groups: Sequence[str], labels: Sequence[Label], share: float, seed: int) -> frozenset[int]:
    """Positions (of N) of whole groups that hold about that share of every class; every class keeps a sample.

    `seed` and the names of the groups give the order in which they are tried; each is taken when that brings the
    counts nearer to what is wanted. Where all are too large for that, the smallest that can be spared is.
    """
    total = Counter(labels)
    by_group: dict[str, Counter[Label]] = {}
    for group, label in zip(groups, labels, strict=True):
        by_group.setdefault(group, Counter())[label] += 1
    held: Counter[Label] = Counter()
    chosen: set[str] = set()

    def miss(more: Counter[Label]) -> float:
        return sum(abs(held[label] + more[label] - share * count) for label, count in total.items())

    def spared(more: Counter[Label]) -> bool:
        return all(held[label] + count < total[label] for label, count in more.items())

    order = sorted(by_group, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    for group in order:
        if spared(by_group[group]) and miss(by_group[group]) < miss(Counter()):
            held += by_group[group]
            chosen.add(group)
    able = [group for group in order if spared(by_group[group])]
    if share > 0 and not chosen and able:
        chosen.add(min(able, key=lambda group: by_group[group].total()))
    positions = frozenset(position for position, group in enumerate(groups) if group in chosen)
    if len(positions) > 1.5 * share * len(groups) + 1:
        _log.warning(
            "%d of %d samples are held out: the groups are too large for a share of %g; give more groups, or holdout=0",
            len(positions), len(groups), share,
        )  # fmt: skip
    return positions
