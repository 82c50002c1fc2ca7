"""Neighbouring frames are no independent samples: how far apart they must lie, and what that leaves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["autocorrelation", "effective_count", "independent_gap", "thinned"]

Array = NDArray[np.float64]


def autocorrelation(rows: Array, lags: int) -> Array:
    """Autocorrelation (`lags` + 1, D) of each column of rows (N, D) in order of time; zero for constant columns.

    By the Fourier transform: O(D N log N).
    """
    count = len(rows)
    centred = rows - rows.mean(axis=0)
    size = 1 << (2 * count - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size, axis=0)) ** 2
    products = np.fft.irfft(power, size, axis=0)[: lags + 1]
    scale = np.where(products[0] > 1e-12 * (1.0 + (rows**2).sum(axis=0)), products[0], np.inf)
    result: Array = products / scale
    return result


def independent_gap(rows: Array, left: float = 0.05) -> int:
    """How many samples apart those of a stream (N, D) must be for a correlation of at most about `left`.

    The slowest column decides: by its first lag, as if autoregressive, and by the first lag at which the
    measured correlation has died. A correlation that chance explains counts as none.
    """
    count = len(rows)
    if count < 4 or rows.shape[1] == 0:
        return 1
    lags = max(1, count // 3)
    measured = autocorrelation(rows, lags)
    # The mean of the window is taken off, which hides part of a slow correlation.
    noise = 2.5 / math.sqrt(count)
    gap = 1
    for column in measured.T:
        first = float(column[1]) + 1.0 / count
        if first <= noise:
            continue
        model = math.ceil(math.log(left) / math.log(min(first, 1.0 - 1.0 / count)))
        dead = np.flatnonzero(column[1:] <= max(left, noise))
        seen = int(dead[0]) + 1 if len(dead) else lags
        gap = max(gap, min(model, count), seen)
    return gap


def thinned(count: int, gap: int) -> NDArray[np.int64]:
    """Every `gap`-th of `count` positions, the last one included: the newest sample always counts."""
    result: NDArray[np.int64] = np.arange(count - 1, -1, -max(1, gap), dtype=np.int64)[::-1]
    return result


def effective_count(rows: Array) -> float:
    """What N rows (N, D) of a stream are worth in independent ones."""
    return len(rows) / independent_gap(rows) if len(rows) else 0.0
