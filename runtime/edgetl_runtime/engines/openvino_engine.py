"""OpenVINO, 2024.4 (Python 3.8) and later: it reads the ONNX graph itself.

On CPUs that have bfloat16 it computes in it by default, which changes every feature. The precision is therefore
always set, read back from the compiled graph, and a part of `description`.

`import openvino` alone reports to Google Analytics, in the background and unless its user opted out. A device that
edgetl runs on reports to nobody: the import goes without the telemetry package, which OpenVINO allows for.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.engines.tensors import declared, match_inputs
from edgetl_runtime.errors import EngineError, EngineUnavailableError

__all__ = ["PRECISIONS", "OpenvinoEngine", "import_openvino", "load"]

# What a user may ask for -> the names by which OpenVINO versions report it.
PRECISIONS = {"f32": ("float32", "f32"), "bf16": ("bfloat16", "bf16"), "f16": ("float16", "f16")}

_TELEMETRY = "openvino_telemetry"


class OpenvinoEngine:
    """One compiled graph and one infer request, whose input and output memory is allocated once."""

    def __init__(self, compiled: Any, description: str) -> None:
        tensor = import_openvino().Tensor
        self.description = description
        self.inputs = tuple(declared(*_spec(port)) for port in compiled.inputs)
        self.outputs = tuple(declared(*_spec(port)) for port in compiled.outputs)
        self._lock = threading.Lock()
        self._compiled: Any = compiled
        self._request: Any = compiled.create_infer_request()
        self._entries: List[NDArray[Any]] = [np.zeros(spec.shape, spec.dtype) for spec in self.inputs]
        self._results: List[NDArray[Any]] = [np.zeros(spec.shape, spec.dtype) for spec in self.outputs]
        for i, entry in enumerate(self._entries):
            self._request.set_input_tensor(i, tensor(entry, shared_memory=True))
        for i, result in enumerate(self._results):
            self._request.set_output_tensor(i, tensor(result, shared_memory=True))

    def run(self, tensors: Dict[str, NDArray[np.generic]]) -> Dict[str, NDArray[np.generic]]:
        """Outputs by name for inputs by name; raises EngineError."""
        arrays = match_inputs(self.inputs, tensors)
        with self._lock:
            if self._request is None:
                raise EngineError("the engine was closed; open the session again")
            for entry, array in zip(self._entries, arrays):
                np.copyto(entry, array)
            try:
                self._request.infer()
            except RuntimeError as error:
                raise EngineError(f"OpenVINO could not run the extractor: {error}") from error
            return {spec.name: result.copy() for spec, result in zip(self.outputs, self._results)}

    def bare(self, tensors: Dict[str, NDArray[np.generic]]) -> Callable[[], object]:
        """The library's own call with a copy of these inputs, and nothing of ours: what a measurement compares."""
        tensor = import_openvino().Tensor
        # It takes no array that is read-only, as a decoded picture is.
        arrays = [np.array(array, order="C") for array in match_inputs(self.inputs, tensors)]
        request = self._compiled.create_infer_request()

        def call(held: Any = arrays) -> None:  # the tensors do not own their memory
            request.infer()

        for i, array in enumerate(arrays):
            request.set_input_tensor(i, tensor(array, shared_memory=True))
        return call

    def close(self) -> None:
        """Release the graph; harmless when repeated."""
        with self._lock:
            self._request = self._compiled = None


def import_openvino() -> Any:
    """The module, imported without its telemetry; where somebody imported it before, it is left as it is."""
    hide = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
    if hide:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # an ImportError for who asks for it
    try:
        import openvino
    finally:
        if hide:
            del sys.modules[_TELEMETRY]
    return openvino


def load(
    graph: bytes,
    threads: Optional[int] = None,
    *,
    cache_dir: Optional[Path] = None,
    progress: Optional[BuildProgress] = None,
    device: str = "CPU",
    precision: str = "f32",
) -> OpenvinoEngine:
    """A compiled graph for those bytes; threads None takes up to four.

    `device` is OpenVINO's name ("CPU", "GPU", "NPU"), never "AUTO", which would choose silently. `precision` is
    what it computes float32 layers in: "f32", or "bf16" / "f16" on purpose. Nothing is cached on disk.
    """
    openvino = import_openvino()
    if precision not in PRECISIONS:
        raise EngineError(f"precision must be one of {list(PRECISIONS)}; got {precision!r}")
    version = openvino.__version__.split("-")[0]
    hints: Dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        hints.update(INFERENCE_NUM_THREADS=threads or min(4, os.cpu_count() or 1), NUM_STREAMS=1)
    core = openvino.Core()
    if device not in [name.split(".")[0] for name in core.available_devices] + core.available_devices:
        raise EngineUnavailableError(f"OpenVINO {version} has no device {device!r} here: {core.available_devices}")
    try:
        compiled = core.compile_model(core.read_model(graph), device, hints)
        used = _name(compiled.get_property("INFERENCE_PRECISION_HINT"))
        where = [str(name) for name in compiled.get_property("EXECUTION_DEVICES")]
    except Exception as error:  # RuntimeError of its own for most, but not for all
        raise EngineError(f"OpenVINO {version} refuses the extractor: {error}") from error
    if used not in PRECISIONS[precision]:
        raise EngineError(f"OpenVINO {version} computes in {used} on {device} although {precision} was asked for")
    return OpenvinoEngine(compiled, f"openvino {version} {','.join(where)} {precision}")


def _spec(port: Any) -> Any:
    shape = port.get_partial_shape()
    sides = tuple(int(side.get_length()) if side.is_static else None for side in shape)
    # A cast to the type that is there already leaves one tensor with two names; the node has the graph's own.
    own = port.get_node().get_friendly_name().split("/sink_port_")[0]
    name = own if own in port.get_names() else port.get_any_name()
    return name, _name(port.get_element_type()), sides


def _name(kind: Any) -> str:
    """"float32" or "u8" as NumPy calls it; some versions write <Type: 'float32'>."""
    name = kind.get_type_name() if hasattr(kind, "get_type_name") else str(kind)
    return {"u8": "uint8", "f32": "float32", "uint8_t": "uint8", "bf16": "bfloat16", "f16": "float16"}.get(name, name)
