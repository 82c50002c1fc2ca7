"""Named arrays as safetensors bytes, with everything checked on the way in."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Tuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from edgetl_runtime.errors import BundleCorruptError

__all__ = ["pack_tensors", "unpack_tensors"]

MAX_MAGNITUDE = 1e30
_METADATA_KEY = "edgetl"


def pack_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> bytes:
    """Safetensors bytes of named arrays; `metadata` (JSON data) travels in the header."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return bytes(save(contiguous, {_METADATA_KEY: json.dumps(metadata, sort_keys=True)}))


def unpack_tensors(data: bytes, what: str) -> Tuple[Dict[str, NDArray[Any]], Dict[str, Any]]:
    """Arrays and metadata of `pack_tensors`; `what` names the member in errors.

    Raises BundleCorruptError when the bytes are not safetensors, or hold NaN, inf or absurd magnitudes:
    the format itself accepts those, and one of them would poison every later decision.
    """
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header.get("__metadata__", {}).get(_METADATA_KEY, "null"))
    except (SafetensorError, AttributeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleCorruptError(f"{what}: not readable as safetensors ({error}); fetch the bundle again") from error
    if not isinstance(metadata, dict):
        raise BundleCorruptError(f"{what}: no edgetl metadata in its header; build the bundle again")
    for name, array in tensors.items():
        if array.dtype.kind == "f":
            if not np.isfinite(array).all():
                raise BundleCorruptError(f"{what}: tensor {name!r} holds NaN or infinite values")
            if array.size and float(np.abs(array).max()) > MAX_MAGNITUDE:
                raise BundleCorruptError(f"{what}: tensor {name!r} holds values beyond {MAX_MAGNITUDE:g}")
    return tensors, metadata
