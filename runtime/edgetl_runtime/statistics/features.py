"""What features, targets and weights may be, before anything learns from them."""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, SampleError

__all__ = ["checked_features", "checked_targets", "checked_weights"]

Array = NDArray[np.float64]


def checked_features(features: ArrayLike, dim: int) -> NDArray[Any]:
    """Features (N, D) of finite numbers as an array, not copied; raises SampleError."""
    rows = np.asarray(features)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise SampleError(f"features must have shape (N, {dim}), one row a sample; got {rows.shape}")
    if rows.dtype.kind not in "fiu":
        raise SampleError(f"features must be numbers; got dtype {rows.dtype}")
    # The sum of squares of one row is cheaper; where it is not finite, a large feature may be the reason.
    if not (len(rows) == 1 and math.isfinite(np.vdot(rows, rows))) and not np.isfinite(rows).all():
        raise SampleError("the features hold NaN or infinite values; check the sample, nothing was learnt from it")
    return rows


def checked_targets(targets: ArrayLike, count: int) -> Array:
    """Targets (N, Q) float64 for N = `count` samples, from (N, Q) or (N); raises LabelError."""
    values = np.asarray(targets, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != count or values.shape[1] == 0:
        raise LabelError(f"targets must have shape ({count}, Q); got {np.shape(targets)}")
    if not np.isfinite(values).all():
        raise LabelError("the targets hold NaN or infinite values; nothing was learnt")
    return values


def checked_weights(weights: Optional[ArrayLike], count: int) -> Optional[Array]:
    """Weights (N) > 0 float64 for N = `count` samples, None for ones; raises SampleError."""
    if weights is None:
        return None
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (count,) or not np.isfinite(values).all() or not (values > 0).all():
        raise SampleError(f"weights must be ({count},) positive finite numbers; got shape {values.shape}")
    return values
