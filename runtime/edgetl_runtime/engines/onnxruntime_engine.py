"""onnxruntime, 1.19 (JetPack 5) and later, on the CPU."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Tuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgetl_runtime.errors import EngineError
from edgetl_runtime.types import TensorSpec

__all__ = ["OnnxruntimeEngine", "load"]

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
_PROVIDER = "CPUExecutionProvider"


class OnnxruntimeEngine:
    """One onnxruntime session."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = _specs(session.get_inputs())
        self.outputs = _specs(session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self.description = f"onnxruntime {onnxruntime.__version__} {session.get_providers()[0]}"

    def run(self, tensors: Dict[str, NDArray[np.generic]]) -> Dict[str, NDArray[np.generic]]:
        """Outputs by name for inputs by name; raises EngineError."""
        if self._session is None:
            raise EngineError("the engine was closed; open the session again")
        try:
            return dict(zip(self._names, self._session.run(self._names, tensors)))
        except Exception as error:  # onnxruntime raises types of its own, without a common root
            raise EngineError(f"onnxruntime could not run the extractor: {error}") from error

    def close(self) -> None:
        """Release the graph."""
        self._session = None


def load(graph: bytes, threads: Optional[int] = None) -> OnnxruntimeEngine:
    """A session for those bytes; None takes up to four threads."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or min(4, os.cpu_count() or 1)
    # Threads that spin between frames would take the cores that learning needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return OnnxruntimeEngine(onnxruntime.InferenceSession(graph, options, providers=[_PROVIDER]))
    except Exception as error:  # as above
        raise EngineError(f"onnxruntime {onnxruntime.__version__} refuses the extractor: {error}") from error


def _specs(nodes: Any) -> Tuple[TensorSpec, ...]:
    for node in nodes:
        if node.type not in _DTYPES or any(not isinstance(side, int) for side in node.shape):
            raise EngineError(
                f"tensor {node.name!r} is {node.type} {node.shape}; expected uint8 or float32, static shape"
            )
    return tuple(TensorSpec(node.name, _DTYPES[node.type], tuple(node.shape)) for node in nodes)
