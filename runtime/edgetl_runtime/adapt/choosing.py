"""Which challenger may go on trial, by labelled samples that none of them has seen."""

from __future__ import annotations

from math import comb
from typing import Mapping, Optional

import numpy as np
from numpy.typing import NDArray

__all__ = ["chosen", "sign_test"]


def chosen(
    live: NDArray[np.bool_],
    challengers: Mapping[str, NDArray[np.bool_]],
    least: int = 50,
    level: float = 0.2,
) -> Optional[str]:
    """The challenger that is most often right on n guard samples, or None when the live head stays.

    `live` (n) says where the head that answers is right, `challengers` the same by name. From `least` samples on
    a challenger must be right more often; with fewer it must pass a sign test at `level` divided by their
    number. It goes on trial only: of harmful changes some 15 % pass at 50 labels and 8 % at 100 (heads.md,
    section 5), so the guard goes on judging it and the factory head stays a candidate.
    """
    best, most = None, 0
    for name, right in challengers.items():
        if len(right) != len(live):
            raise ValueError(f"{name}: {len(right)} judged samples, the live head has {len(live)}")
        gained, lost = int((right & ~live).sum()), int((live & ~right).sum())
        enough = len(live) >= least or sign_test(gained, lost) <= level / len(challengers)
        if enough and gained - lost > most:
            best, most = name, gained - lost
    return best


def sign_test(gained: int, lost: int) -> float:
    """Chance of so many gains, or more, among the samples on which two equally good heads differ; one-sided."""
    total = gained + lost
    return sum(comb(total, k) for k in range(gained, total + 1)) / 2.0**total
