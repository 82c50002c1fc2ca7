"""A TensorRT plan that runs: named tensors and `execute_async_v3`, the one way that 8.5 to 11 have in common."""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.engines.cuda_memory import Buffer, Cuda
from edgetl_runtime.engines.tensorrt_log import listen
from edgetl_runtime.engines.tensors import declared, match_inputs
from edgetl_runtime.errors import EngineError
from edgetl_runtime.types import TensorSpec

__all__ = ["TensorrtEngine", "deserialize"]

logger = logging.getLogger(__name__)

_DTYPES = {"FLOAT": "float32", "UINT8": "uint8"}


def deserialize(trt: Any, plan: bytes) -> Optional[Tuple[Any, Any]]:
    """The runtime and the engine of a plan, or None when TensorRT does not take it: it returns None or raises."""
    runtime = trt.Runtime(listen(trt))
    try:
        engine = runtime.deserialize_cuda_engine(plan)
    except Exception as error:  # pybind11 turns what CUDA throws into RuntimeError, TypeError and others
        logger.warning("TensorRT does not read the plan: %s", error)
        return None
    return None if engine is None else (runtime, engine)


class TensorrtEngine:
    """One execution context with device buffers that are allocated once. Owns `cuda` and closes it."""

    def __init__(self, trt: Any, cuda: Cuda, loaded: Tuple[Any, Any], description: str) -> None:
        self.description = description
        self._runtime, self._engine = loaded
        self._cuda = cuda
        self._lock = threading.Lock()
        self._buffers: List[Buffer] = []
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        entering = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.inputs = tuple(_spec(engine, name) for name in names if name in entering)
        self.outputs = tuple(_spec(engine, name) for name in names if name not in entering)
        self._context: Any = engine.create_execution_context()
        if self._context is None:
            raise EngineError("TensorRT has no memory for an execution context; stop other programs")
        try:
            for spec in self.inputs + self.outputs:
                buffer = cuda.allocate(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize)
                self._buffers.append(buffer)
                if not self._context.set_tensor_address(spec.name, buffer.address):
                    raise EngineError(f"TensorRT does not take the buffer of the tensor {spec.name!r}")
        except EngineError:
            self._release()
            raise

    def run(self, tensors: Dict[str, NDArray[np.generic]]) -> Dict[str, NDArray[np.generic]]:
        """Outputs by name for inputs by name; raises EngineError."""
        arrays = [np.ascontiguousarray(array) for array in match_inputs(self.inputs, tensors)]
        results: List[NDArray[Any]] = [np.empty(spec.shape, spec.dtype) for spec in self.outputs]
        with self._lock:
            if self._context is None:
                raise EngineError("the engine was closed; open the session again")
            for buffer, array in zip(self._buffers, arrays):
                self._cuda.upload(buffer, array)
            if not self._context.execute_async_v3(self._cuda.stream):
                raise EngineError("TensorRT could not run the extractor; its log says why")
            for buffer, result in zip(self._buffers[len(arrays) :], results):
                self._cuda.download(result, buffer)
            self._cuda.wait()
        return {spec.name: result for spec, result in zip(self.outputs, results)}

    def bare(self, tensors: Dict[str, NDArray[np.generic]]) -> Callable[[], object]:
        """Copy in, execute, copy out with these inputs, and nothing of ours: what a measurement compares with."""
        arrays = [np.ascontiguousarray(array) for array in match_inputs(self.inputs, tensors)]
        results: List[NDArray[Any]] = [np.empty(spec.shape, spec.dtype) for spec in self.outputs]

        def call() -> None:
            for buffer, array in zip(self._buffers, arrays):
                self._cuda.upload(buffer, array)
            self._context.execute_async_v3(self._cuda.stream)
            for buffer, result in zip(self._buffers[len(arrays) :], results):
                self._cuda.download(result, buffer)
            self._cuda.wait()

        return call

    def close(self) -> None:
        """Release the graph, its buffers and the stream; harmless when repeated."""
        with self._lock:
            if self._context is not None:
                self._release()
                self._cuda.close()

    def _release(self) -> None:
        # In this order: TensorRT wants a context gone before its engine, and that before its runtime.
        self._context = self._engine = self._runtime = None
        buffers, self._buffers = self._buffers, []
        for buffer in buffers:
            self._cuda.free(buffer)


def _spec(engine: Any, name: str) -> TensorSpec:
    kind = engine.get_tensor_dtype(name).name
    return declared(name, _DTYPES.get(kind, kind), tuple(int(side) for side in engine.get_tensor_shape(name)))
