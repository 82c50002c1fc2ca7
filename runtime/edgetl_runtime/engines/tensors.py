"""What goes into an engine is what its graph declares, or an EngineError: engines differ in what they forgive."""

from __future__ import annotations

from typing import List, Mapping, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import EngineError
from edgetl_runtime.types import TensorSpec

__all__ = ["DTYPES", "declared", "match_inputs"]

DTYPES = ("uint8", "float32")


def declared(name: str, dtype: str, shape: Tuple[object, ...]) -> TensorSpec:
    """The spec of a graph's tensor; raises EngineError unless it is uint8 or float32 of a static shape."""
    sides = tuple(side for side in shape if isinstance(side, int) and side > 0)
    if dtype not in DTYPES or len(sides) != len(shape):
        raise EngineError(f"tensor {name!r} is {dtype} {list(shape)}; expected uint8 or float32, static shape")
    return TensorSpec(name, dtype, sides)


def match_inputs(specs: Tuple[TensorSpec, ...], tensors: Mapping[str, object]) -> List[NDArray[np.generic]]:
    """The arrays in the order of `specs`; raises EngineError for one that is missing, unknown, or of another kind."""
    if len(tensors) != len(specs) or any(spec.name not in tensors for spec in specs):
        raise EngineError(f"the extractor takes {[spec.name for spec in specs]}; got {sorted(map(str, tensors))}")
    arrays: List[NDArray[np.generic]] = []
    for spec in specs:
        array = tensors[spec.name]
        if not isinstance(array, np.ndarray) or array.dtype != spec.dtype or array.shape != spec.shape:
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise EngineError(f"input {spec.name!r} must be {spec.dtype} {spec.shape}; got {got}")
        arrays.append(array)
    return arrays
