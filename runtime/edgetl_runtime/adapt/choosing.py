"""Which challenger may go on trial, by labelled samples that none of them has seen."""

from __future__ import annotations

from math import comb
from typing import Mapping, Optional

import numpy as np
from numpy.typing import NDArray

__all__ = ["chosen", "sign_test"]

# Few labels must be surer.
_FEW, _SURE = 50, 0.2


def chosen(
    live: NDArray[np.bool_], challengers: Mapping[str, NDArray[np.bool_]], level: float = 1.0
) -> Optional[str]:
    """The challenger that is most often right on n guard samples, or None when the live head stays.

    `live` (n) says where the head that answers is right, `challengers` the same by name. One must be right more
    often, and pass a sign test at `level` divided by their number: of so many that are no better than the live
    head, `level` pass on average. Below 50 labels the level is 0.2 at most. The winner goes on trial only: a
    tenth of the small harms may pass, the large ones do not (benchmarks/adapt_bench.py), so the guard goes on
    judging it and the factory head stays a candidate.
    """
    allowed = min(level, _SURE) if len(live) < _FEW else level
    best, most = None, 0
    for name, right in challengers.items():
        if len(right) != len(live):
            raise ValueError(f"{name}: {len(right)} judged samples, the live head has {len(live)}")
        gained, lost = int((right & ~live).sum()), int((live & ~right).sum())
        if gained - lost > most and sign_test(gained, lost) <= allowed / len(challengers):
            best, most = name, gained - lost
    return best


def sign_test(gained: int, lost: int) -> float:
    """Chance of more gains among the samples on which two equally good heads differ, and half that of as many.

    One-sided, the mid-p value: the plain one is needlessly careful where few samples differ.
    """
    total = gained + lost
    more = sum(comb(total, k) for k in range(gained + 1, total + 1))
    return (more + comb(total, gained) / 2.0) / 2.0**total
