"""Adapted heads back from named arrays and JSON, every one checked."""

from __future__ import annotations

from typing import Any, Dict, Mapping

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.adapted_head import LINEAR, AdaptedHead
from edgetl_runtime.adapt.lame import LameHead
from edgetl_runtime.adapt.maps import FeatureMap
from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.linear import load_linear
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.heads.table import load_head

__all__ = ["is_adapted", "load_adapted"]

# An adapted head of an adapted head of ... is nothing that this package writes.
_DEEPEST = 4

Arrays = Mapping[str, NDArray[Any]]


def load_adapted(arrays: Arrays, metadata: Mapping[str, Any], depth: int = 0) -> Head:
    """The head of `state()` and `metadata()` of any head, adapted or not; raises StatisticsError."""
    name = metadata.get("head")
    if name == LINEAR:
        return load_linear(arrays, metadata)
    keys = {"adapted": {"head", "inner"}, "lame": {"head", "inner", "neighbours", "rounds"}}
    if name not in keys:
        return load_head(arrays, metadata)
    if set(metadata) != keys[name] or not isinstance(metadata["inner"], Mapping):
        raise StatisticsError(f"the metadata names the head {name!r}, or has other keys: {sorted(metadata)}")
    if depth >= _DEEPEST:
        raise StatisticsError(f"an adapted head holds more than {_DEEPEST} others")
    within = {key[6:]: array for key, array in arrays.items() if key.startswith("inner.")}
    own = {key: array for key, array in arrays.items() if not key.startswith("inner.")}
    inner = load_adapted(within, metadata["inner"], depth + 1)
    if any(array.dtype != np.float64 or not np.isfinite(array).all() for array in own.values()):
        raise StatisticsError("the arrays of an adapted head must be finite float64")
    return _lame(inner, own, metadata) if name == "lame" else _adapted(inner, own)


def is_adapted(head: Head) -> bool:
    """Whether an adapter of this package made the head: learning alone would not make it again."""
    return head.metadata().get("head") in (LINEAR, "adapted", "lame")


def _adapted(inner: Head, own: Dict[str, NDArray[Any]]) -> AdaptedHead:
    mapped = {"map.before", "map.matrix", "map.after"}
    if set(own) not in ({"offset"}, {"offset"} | mapped) or own["offset"].shape != (len(inner.classes),):
        raise StatisticsError(f"the arrays of an adapted head have other names or shapes: {sorted(own)}")
    if len(own) == 1:
        return AdaptedHead(inner, None, own["offset"])
    before, matrix, after = (own[name] for name in ("map.before", "map.matrix", "map.after"))
    full = (before.size, after.size)
    if before.ndim != 1 or after.ndim != 1 or not (matrix.shape == full or matrix.shape == before.shape == after.shape):
        raise StatisticsError(f"the map of an adapted head does not fit together: {matrix.shape}")
    return AdaptedHead(inner, FeatureMap(before, matrix, after), own["offset"])


def _lame(inner: Head, own: Dict[str, NDArray[Any]], metadata: Mapping[str, Any]) -> LameHead:
    counts = [metadata["neighbours"], metadata["rounds"]]
    if set(own) != {"shift"} or own["shift"].ndim != 1 or any(type(n) is not int or n < 1 for n in counts):
        raise StatisticsError("the arrays or numbers of a batchwise head are not as it writes them")
    return LameHead(inner, own["shift"], *counts)
