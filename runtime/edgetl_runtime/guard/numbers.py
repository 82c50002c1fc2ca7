"""What a labelled sample counts as evidence where labels are numbers: neighbours of one moment count once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.guard.duplicates import NearDuplicates, within_spread
from edgetl_runtime.statistics import Statistics

__all__ = ["NumberEvidence"]

# Frames of a drive up to about a quarter of a second apart are nearer to each other than that.
_NEAR, _WINDOW = 0.55, 256
# Real new domains lie at 1 to 2 times the mean square distance of the source, single samples of them at up to 4.
_FARTHEST = 5.0


class NumberEvidence:
    """The weights of samples as evidence for or against a head of numbers; O(256 D) a sample.

    Neighbouring frames of a drive are nearly copies of each other, also in what they ask for: a head that was taught
    one of them is right about the next, and that says nothing of the rest of the road. So only samples count that
    lie apart from the last 256 (`NearDuplicates`): evidence by moments, not by frames. And any head of numbers is wrong
    far outside of the source, so what lies at more than five times its mean square distance does not count (a
    redescending weight as of Mallows): nonsense is no proof that the live head is worse.
    """

    def __init__(self, source: Statistics) -> None:
        spread, moments = within_spread(source), source.moments
        self._moments = NearDuplicates(spread, near=_NEAR, window=_WINDOW)
        self._middle = source.shift + moments.sum / max(moments.count, 1.0)
        positive = spread > 1e-6 * spread.max(initial=0.0)
        self._scale = np.where(positive, 1.0 / np.where(positive, spread, 1.0), 0.0)
        self._count = max(int(positive.sum()), 1)

    def add(self, features: ArrayLike) -> NDArray[np.float64]:
        """What each of N features (N, D) counts, 0 or 1, in the order in which they come."""
        rows = np.atleast_2d(np.asarray(features, dtype=np.float64))
        apart = ((rows - self._middle) * self._scale) ** 2
        distance = apart.sum(axis=1) / self._count
        result: NDArray[np.float64] = np.where(self._moments.add(rows) | (distance > _FARTHEST), 0.0, 1.0)
        return result
