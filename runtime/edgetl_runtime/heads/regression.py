"""Heads that predict numbers: steering, speed, pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.statistics import checked_features

__all__ = ["RegressionHead", "Regressor", "angle_targets", "angles_of", "load_regression"]

Array = NDArray[np.float64]


class Regressor(Protocol):
    """A fitted map from features (N, D) to Q real targets. Immutable: learning makes a new one."""

    @property
    def name(self) -> str:
        """Its row in the table."""
        ...

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        ...

    def predict(self, features: ArrayLike) -> Array:
        """Targets (N, Q) of features (N, D)."""
        ...

    def predict_variance(self, features: ArrayLike) -> Array:
        """Variance (N, Q) of the error to expect."""
        ...

    def state(self) -> Dict[str, Array]:
        """Named arrays from which, with `metadata()`, the same head is made bit for bit."""
        ...

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        ...


@dataclass(frozen=True)
class RegressionHead:
    """y = (x - shift) W^T + b for features (N, D): weights (Q, D), bias (Q), in float64, N Q D multiplications.

    `noise` (Q) is the residual variance; `inverse` (D, D), when there, is (G + penalty I)^-1 about `centre`
    (D) over `count` samples, and makes the variance grow away from what was learnt. Where learnt samples had
    a weight beside those of a prior, the three are of the sandwich that does not take it for repetition.
    """

    name: str
    feature_space: Optional[str]
    weights: Array
    bias: Array
    shift: Array
    noise: Array
    centre: Array
    inverse: Array
    count: float

    def predict(self, features: ArrayLike) -> Array:
        """Targets (N, Q) of features (N, D)."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift
        result: Array = rows @ self.weights.T + self.bias
        return result

    def predict_variance(self, features: ArrayLike) -> Array:
        """Variance (N, Q): noise (1 + 1/n + (x - centre) inverse (x - centre)); O(D^2) a sample with `inverse`."""
        count = max(self.count, 1.0)
        return np.outer(1.0 + (1.0 + self.distance(features)) / count, self.noise)

    def distance(self, features: ArrayLike) -> Array:
        """n (x - centre) inverse (x - centre), (N): Mahalanobis, squared; zeros without `inverse`."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.centre
        if not self.inverse.size:
            return np.zeros(len(rows))
        result: Array = max(self.count, 1.0) * np.einsum("nd,nd->n", rows @ self.inverse, rows)
        return result

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        return {
            "weights": self.weights,
            "bias": self.bias,
            "shift": self.shift,
            "noise": self.noise,
            "centre": self.centre,
            "inverse": self.inverse,
            "count": np.array([self.count]),
        }

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {"regressor": self.name, "feature_space": self.feature_space}


def load_regression(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> RegressionHead:
    """The head of `RegressionHead.state()` and `metadata()`; raises StatisticsError on anything else."""
    names = {"weights", "bias", "shift", "noise", "centre", "inverse", "count"}
    if set(metadata) != {"regressor", "feature_space"} or set(arrays) != names:
        raise StatisticsError("these are not the arrays and metadata of a regression head")
    if arrays["weights"].ndim != 2:
        raise StatisticsError(f"weights must have shape (Q, D); got {arrays['weights'].shape}")
    q, dim = arrays["weights"].shape
    square = (0, 0) if arrays["inverse"].size == 0 else (dim, dim)
    shapes = {"weights": (q, dim), "bias": (q,), "shift": (dim,), "noise": (q,), "centre": (dim,)}
    for name, shape in {**shapes, "inverse": square, "count": (1,)}.items():
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise StatisticsError(f"{name} must be finite float64 {shape}; got {array.dtype} {array.shape}")
    kept = {name: np.array(arrays[name]) for name in names - {"count"}}
    count = float(arrays["count"][0])
    return RegressionHead(str(metadata["regressor"]), metadata["feature_space"], count=count, **kept)


def angle_targets(angles: ArrayLike) -> Array:
    """Sines and cosines (N, 2) of angles (N) in radians: targets without the jump at half a turn."""
    values = np.asarray(angles, dtype=np.float64)
    return np.stack([np.sin(values), np.cos(values)], axis=1)


def angles_of(targets: ArrayLike) -> Array:
    """Angles (N) in radians, in -pi..pi, of predicted sines and cosines (N, 2)."""
    values = np.asarray(targets, dtype=np.float64)
    return np.arctan2(values[:, 0], values[:, 1])
