"""Named arrays as safetensors bytes, with everything checked on the way in."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, Mapping, Tuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from edgetl_runtime.errors import BundleCorruptError

__all__ = ["pack_tensors", "unpack_tensors"]

MAX_MAGNITUDE = 1e30
MAX_HEADER_BYTES = 8 << 20
_METADATA_KEY = "edgetl"
# What a header is made of takes ten to thirty times its bytes once read: 65,536 classes by name in six lists fit.
_MOST_CONTAINERS, _MOST_VALUES = 1 << 16, 1 << 19


def pack_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> bytes:
    """Safetensors bytes of named arrays; `metadata` (JSON data) travels in the header."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return bytes(save(contiguous, {_METADATA_KEY: json.dumps(metadata, sort_keys=True)}))


def unpack_tensors(data: bytes, what: str) -> Tuple[Dict[str, NDArray[Any]], Dict[str, Any]]:
    """Arrays and metadata of `pack_tensors`; `what` names the member in errors.

    Raises BundleCorruptError when the bytes are not safetensors, or hold NaN, inf or absurd magnitudes:
    the format itself accepts those, and one of them would poison every later decision.
    """
    text = data[8 : 8 + min(int.from_bytes(data[:8], "little"), MAX_HEADER_BYTES + 1)]
    containers, values = text.count(b"[") + text.count(b"{"), text.count(b",")
    if len(text) > MAX_HEADER_BYTES or containers > _MOST_CONTAINERS or values > _MOST_VALUES or not text.isascii():
        raise BundleCorruptError(
            f"{what}: its header is no header of ours: beyond {MAX_HEADER_BYTES:,} bytes, {_MOST_CONTAINERS:,} lists or"
            f" {_MOST_VALUES:,} values, or not ASCII; build the bundle again"
        )
    try:
        tensors = load(data)
        header = json.loads(text)
        metadata = json.loads(header.get("__metadata__", {}).get(_METADATA_KEY, "null"))
    except (SafetensorError, AttributeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleCorruptError(f"{what}: not readable as safetensors ({error}); fetch the bundle again") from error
    if not isinstance(metadata, dict):
        raise BundleCorruptError(f"{what}: no edgetl metadata in its header; build the bundle again")
    for name, array in tensors.items():
        if array.dtype.kind == "f":
            # Without a copy of the array: a device has room for one.
            low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
            if not (math.isfinite(low) and math.isfinite(high)):
                raise BundleCorruptError(f"{what}: tensor {name!r} holds NaN or infinite values")
            if max(-low, high) > MAX_MAGNITUDE:
                raise BundleCorruptError(f"{what}: tensor {name!r} holds values beyond {MAX_MAGNITUDE:g}")
    return tensors, metadata
