"""Near-duplicates: a scene that is shown a thousand times is evidence once."""

from __future__ import annotations

from typing import List, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.statistics import Statistics

__all__ = ["NearDuplicates", "within_spread"]


class NearDuplicates:
    """The last `capacity` samples that were no near-duplicates, in float32: 4 D bytes each, O(D capacity) a look.

    Two features (D) are near when they lie closer than the share `near` of how far two samples of one class lie
    apart on average, all features measured in their `spread` (D) within a class. With a `window` only what came among
    so many samples before is looked at.
    """

    def __init__(
        self, spread: ArrayLike, capacity: int = 512, near: float = 0.15, window: Optional[int] = None
    ) -> None:
        scale = np.asarray(spread, dtype=np.float64)
        if scale.ndim != 1 or not (np.isfinite(scale).all() and (scale >= 0).all() and capacity > 0 and near > 0):
            raise ValueError(f"spread must be D numbers that are not negative; got shape {scale.shape}")
        # A feature that never varies in the source says nothing of how near two samples are.
        positive = scale > 1e-6 * scale.max(initial=0.0)
        self._scale = np.where(positive, 1.0 / np.where(positive, scale, 1.0), 0.0)
        self._limit = 2.0 * max(int(positive.sum()), 1) * near**2
        self._rows = np.zeros((capacity, len(scale)), np.float32)
        self._count = self._seen = 0
        self._window, self._came = window, np.zeros(capacity, np.int64)

    def add(self, features: ArrayLike) -> NDArray[np.bool_]:
        """True (N) for each of N features (N, D) that is near one seen before; those that are not are kept."""
        rows = np.atleast_2d(np.asarray(features, dtype=np.float64)) * self._scale
        result: List[bool] = []
        for row in rows.astype(np.float32):
            stored = self._rows[: self._count]
            if self._window is not None:
                stored = stored[self._seen - self._came[: self._count] < self._window]
            gaps = stored - row
            near = bool((np.einsum("nd,nd->n", gaps, gaps) < self._limit).any())
            result.append(near)
            if not near:
                self._rows[self._count % len(self._rows)] = row
                self._came[self._count % len(self._rows)] = self._seen
                self._count += 1
            self._seen += 1
        return np.array(result, dtype=np.bool_)


def within_spread(source: Statistics) -> NDArray[np.float64]:
    """Standard deviation (D) of each feature within the classes of the source; of all samples without classes."""
    if source.classes:
        squares = np.diagonal(source.within_scatter()) / max(source.count, 1.0)
    else:
        moments = source.moments
        count = max(moments.count, 1.0)
        squares = np.diagonal(moments.gram) / count - (moments.sum / count) ** 2
    result: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0.0))
    return result
