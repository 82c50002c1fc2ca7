"""OpenVINO's own form of the graph (IR): an XML of layers, and their weights beside it.

The runtime reads the ONNX graph itself, so bundles carry no IR. It is for programs that run OpenVINO without edgetl,
and it is compared with the ONNX graph before it is given out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.engines.openvino_engine import import_openvino

from edgetl.errors import ExportError, ParityError
from edgetl.parity import compare

__all__ = ["files"]

_MAX_REL = 1e-5  # one engine, one precision, one graph in two forms


def files(graph: bytes) -> dict[str, bytes]:
    """`.xml` and `.bin` of an ONNX graph, weights in the precision of the graph; raises ExportError."""
    openvino = import_openvino()
    core = openvino.Core()
    try:
        model = core.read_model(graph)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "extractor.xml"
            openvino.save_model(model, str(path), compress_to_fp16=False)
            said = {".xml": path.read_bytes(), ".bin": path.with_suffix(".bin").read_bytes()}
            again = core.read_model(str(path), str(path.with_suffix(".bin")))
            _check(core, model, again)
    except ParityError as error:
        raise ExportError(f"OpenVINO's IR computes something else than the graph: {error}") from error
    except RuntimeError as error:
        raise ExportError(f"OpenVINO {openvino.__version__.split('-')[0]} cannot convert the graph: {error}") from error
    return said


def _check(core: Any, model: Any, again: Any) -> None:
    generator = np.random.default_rng(0)
    inputs = []
    for port in model.inputs:
        kind, shape = port.get_element_type().to_dtype(), tuple(port.get_shape())
        noise = generator.integers(0, 256, shape) if kind == np.uint8 else generator.normal(size=shape)
        inputs.append(noise.astype(kind))
    # OpenVINO's default may be bfloat16, which rounds each form in its own places.
    results = [core.compile_model(one, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(inputs)[0] for one in (model, again)]
    parity = compare(*(result.reshape(len(result), -1) for result in results))
    if parity.max_rel > _MAX_REL:
        raise ParityError(f"off by {parity.max_rel:.1e} of the largest feature, {_MAX_REL:g} is allowed")
