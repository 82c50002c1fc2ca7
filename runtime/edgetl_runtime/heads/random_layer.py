"""A random ReLU layer that a seed regenerates anywhere: a linear head behind it is no longer linear."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.statistics import Statistics, checked_features

__all__ = ["RandomReLU", "random_layer"]

Array = NDArray[np.float64]
# Widened so many at a time, so that a float64 copy of W is never there.
_UNITS = 64


@dataclass(frozen=True)
class RandomReLU:
    """h = relu((x - shift) / scale W / sqrt(D)) for features (N, D): (N, M), W (D, M) normal from `seed`.

    W is made from the raw bits of PCG64, whose stream NumPy guarantees, so every version gives the same. It
    costs N D M multiplications, a row at a time, and 4 D M bytes; it is never stored. McDonnell et al. 2023 (RanPAC).
    """

    seed: int
    width: int
    shift: Array
    scale: Array
    _weights: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.width < 1 or self.shift.ndim != 1 or self.scale.shape != self.shift.shape:
            raise ValueError("width must be positive, and shift and scale two vectors of the same length")
        if not (self.scale > 0).all():
            raise ValueError("scale must be positive")
        weights = _normal(self.seed, len(self.shift) * self.width).reshape(len(self.shift), self.width)
        scaled = weights / (self.scale[:, None] * math.sqrt(len(self.shift)))
        object.__setattr__(self, "_weights", np.ascontiguousarray(scaled.T, dtype=np.float32))

    def apply(self, features: ArrayLike) -> Array:
        """Projected features (N, M) of features (N, D)."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift
        projected = np.empty((len(rows), self.width))
        # Row by row: a product of several rows rounds a row otherwise than the row alone, and what is learnt must not
        # depend on who came along. In float32 that would be more than learning promises.
        for start in range(0, self.width, _UNITS):
            units = self._weights[start : start + _UNITS].astype(np.float64)
            for row, answer in zip(rows, projected):
                np.dot(units, row, out=answer[start : start + _UNITS])
        return np.maximum(projected, 0.0, out=projected)

    def state(self) -> Dict[str, Array]:
        """Named arrays, without W."""
        return {"layer_shift": self.shift, "layer_scale": self.scale}

    def metadata(self) -> Dict[str, Any]:
        """Seed and width, as JSON has them."""
        return {"seed": self.seed, "width": self.width}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> RandomReLU:
        """The layer of `state()` and `metadata()`; raises StatisticsError on anything else."""
        try:
            shift, scale = np.array(arrays["layer_shift"]), np.array(arrays["layer_scale"])
            if not all(array.dtype == np.float64 and np.isfinite(array).all() for array in (shift, scale)):
                raise ValueError("shift and scale must be finite float64")
            return cls(int(metadata["seed"]), int(metadata["width"]), shift, scale)
        except (KeyError, TypeError, ValueError) as error:
            raise StatisticsError(f"this is no random layer: {error}") from error


def random_layer(
    statistics: Statistics, width: int = 0, size_bytes: int = 32 * 2**20, seed: int = 0
) -> RandomReLU:
    """A layer for features like those of `statistics`: standardised by their mean and spread,
    the spread taken as the median of all features where it is less.

    `width` 0 takes the largest M whose Gram matrix and W, 8 M^2 + 4 D M bytes, fit into `size_bytes`.
    """
    dim = statistics.dim
    if not width:
        width = int((math.sqrt((4.0 * dim) ** 2 + 32.0 * size_bytes) - 4.0 * dim) / 16.0)
        if width < 1:
            raise ValueError(f"no random layer for D={dim} fits into {size_bytes} bytes")
    moments = statistics.moments
    if moments.count <= 0:
        return RandomReLU(seed, width, np.zeros(dim), np.ones(dim))
    mean = moments.sum / moments.count
    spread = np.sqrt(np.maximum(np.diagonal(moments.gram) / moments.count - mean**2, 0.0))
    # Features that hardly ever move carry more noise than news: they are not blown up to the size of the others.
    floor = float(np.median(spread)) or float(spread.max()) or 1.0
    return RandomReLU(seed, width, statistics.shift + mean, np.maximum(spread, floor))


def _normal(seed: int, count: int) -> Array:
    """Normal numbers by Box and Muller from raw bits: the distributions of NumPy may change, its bits do not."""
    bits = np.random.PCG64(seed).random_raw(2 * ((count + 1) // 2))
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(uniform[0::2])), 2.0 * np.pi * uniform[1::2]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
