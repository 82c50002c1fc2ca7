"""A fitted head and its outlier score as bytes: what a generation holds, so that it answers as it did, bit for bit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Dict

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt import load_adapted
from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from edgetl_runtime.errors import EdgetlError, StateCorruptError
from edgetl_runtime.heads import AnchoredHead
from edgetl_runtime.learner import Fitted
from edgetl_runtime.outliers import OutlierScore
from edgetl_runtime.store import Generation

__all__ = ["is_anchored", "pack_fitted", "unpack_fitted"]


def pack_fitted(fitted: Fitted) -> bytes:
    """Safetensors bytes; an array that the outlier score shares with the head is stored once."""
    tensors: Dict[str, NDArray[Any]] = {f"head.{name}": array for name, array in fitted.head.state().items()}
    shared: Dict[str, str] = {}
    numbers: Dict[str, float] = {}
    for item in fields(OutlierScore):
        value = getattr(fitted.outliers, item.name)
        if not isinstance(value, np.ndarray):
            numbers[item.name] = float(value)
            continue
        same = [name for name, array in tensors.items() if _equal(array, value)]
        if same:
            shared[item.name] = same[0]
        else:
            tensors[f"outliers.{item.name}"] = value
    return pack_tensors(tensors, {"head": fitted.head.metadata(), "shared": shared, "numbers": numbers})


def is_anchored(made: Generation) -> bool:
    """Whether the head of a generation is anchored; raises BundleCorruptError.

    One that was merged and not fitted yet says so beside it.
    """
    if not made.head:
        return made.evidence.get("anchored") is True
    head = unpack_tensors(made.head, f"generation {made.number}")[1].get("head")
    return isinstance(head, dict) and (head.get("head") == AnchoredHead.name or head.get("share") is not None)


def unpack_fitted(data: bytes, what: str, feature_space: str, dim: int) -> Fitted:
    """The head and score of those bytes, for features (N, D = `dim`); raises StateCorruptError."""
    try:
        tensors, metadata = unpack_tensors(data, what)
        arrays = {name.partition(".")[2]: array for name, array in tensors.items() if name.startswith("head.")}
        head = load_adapted(arrays, metadata["head"])
        parts: Dict[str, Any] = {name: float(value) for name, value in metadata["numbers"].items()}
        parts.update({name: tensors[other] for name, other in metadata["shared"].items()})
        parts.update(
            {name.partition(".")[2]: array for name, array in tensors.items() if name.startswith("outliers.")}
        )
        fitted = Fitted(head, OutlierScore(**parts))
        probe = np.zeros((1, dim), np.float32)
        head.decision(probe)
        fitted.outliers.score(probe)
    except (EdgetlError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise StateCorruptError(f"{what} cannot be read: {error}") from error
    if head.feature_space != feature_space:
        raise StateCorruptError(f"{what} belongs to another extractor")
    return fitted


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one is other or (one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other))
