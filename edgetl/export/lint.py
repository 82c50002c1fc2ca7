"""What some device would choke on, found in the graph before any engine sees it.

The rules are what TensorRT 8.5 to 11 refuses (onnx/onnx-tensorrt `docs/operators.md`, and single nodes tried in
tensorrt_rtx 1.7.1) and what the runtime refuses by itself: external data, custom operators, control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.errors import ExportError

if TYPE_CHECKING:
    import onnx

__all__ = ["RULES", "Finding", "lint", "refuse"]

_STANDARD = ("", "ai.onnx")
_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
_QLINEAR = {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
_SPECTRAL = {"BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "MelWeightMatrix", "STFT"}
_UNKNOWN_TO_TENSORRT = {
    "AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CenterCropPad",
    "Col2Im", "Compress", "Det", "ImageDecoder", "MaxRoiPool", "MaxUnpool", "Multinomial", "NegativeLogLikelihoodLoss",
    "SoftmaxCrossEntropyLoss", "TfIdfVectorizer", "Unique",
}  # fmt: skip
_FAMILIES = ("Optional", "Sequence", "String")
_MOST_OF_TOPK = 3840

_SYMMETRIC = (
    "quantize symmetrically: ActivationSymmetric and WeightSymmetric, QInt8, which is what edgetl's own"
    " quantization does"
)
RULES = {
    "control-flow": "export with static shapes and without branches on values, so that nothing is left to decide",
    "custom-domain": "write it with standard ONNX operators, or cut the graph before it (output=NAME)",
    "dynamic-quantization": "quantize statically with calibration samples, as QDQ",
    "external-data": "save it as one file: onnx.save(onnx.load(path), path, save_as_external_data=False)",
    "function": "inline it: onnx.inliner.inline_local_functions(model)",
    "int32-dequantize": "leave the bias in float32: onnxruntime's quantizer takes extra_options QuantizeBias=False",
    "qlinear": "quantize as QDQ (QuantFormat.QDQ), not as QOperator: TensorRT knows no QLinear operator",
    "resize-antialias": "resize before the graph: the declared preprocessing does it, antialiased",
    "spectral": "compute spectra and mel bands before the graph, or as a fixed Conv or MatMul",
    "topk": f"ask for fewer than {_MOST_OF_TOPK} values, or cut the graph before it (output=NAME)",
    "uint8-weight": "quantize weights to QInt8; uint8 is for activations",
    "unbounded-shape": "export with a static shape; edgetl sets the batch itself",
    "unsupported-operator": "TensorRT has no such operator: replace it, or cut the graph before it (output=NAME)",
    "zero-point": _SYMMETRIC,
}


@dataclass(frozen=True)
class Finding:
    """One thing in a graph that a device would refuse. `node` names the node, tensor or function it is about."""

    node: str
    op: str
    rule: str
    detail: str

    @property
    def way_out(self) -> str:
        """What to do about it."""
        return RULES[self.rule]

    def __str__(self) -> str:
        return f"{self.op} {self.node!r}: {self.detail} [{self.rule}]; {self.way_out}"


def lint(model: onnx.ModelProto | bytes) -> tuple[Finding, ...]:
    """Everything in the graph that some device would refuse, in the order of its nodes; () when it is clean.

    Subgraphs and functions are looked into. Raises ExportError when the bytes are not ONNX.
    """
    parsed = _parse(model) if isinstance(model, bytes) else model
    found = [
        Finding(f"{function.domain}.{function.name}", "function", "function", "the model holds local functions")
        for function in parsed.functions
    ]
    for function in parsed.functions:
        found += _nodes(function.node, {})
    found += _interface(parsed.graph)
    found += _graph(parsed.graph, {})
    return tuple(found)


def refuse(findings: Iterable[Finding]) -> None:
    """Raise ExportError that names every node and its way out, unless there is none."""
    found = tuple(findings)
    if found:
        more = f"\n  and {len(found) - 8} more" if len(found) > 8 else ""
        raise ExportError(
            "devices would refuse this graph:" + "".join(f"\n  {finding}" for finding in found[:8]) + more
        )


def _parse(graph: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load_from_string(graph)
    except DecodeError as error:
        raise ExportError(f"not an ONNX graph, or a truncated one: {error}") from error


def _interface(graph: onnx.GraphProto) -> Iterator[Finding]:
    initializers = {tensor.name for tensor in graph.initializer}
    for kind, tensors in (("input", graph.input), ("output", graph.output)):
        for tensor in tensors:
            if tensor.name in initializers:
                continue
            shape = tensor.type.tensor_type.shape
            sides = [side.dim_value or side.dim_param or "?" for side in shape.dim]
            if not tensor.type.tensor_type.HasField("shape"):
                yield Finding(tensor.name, kind, "unbounded-shape", "it has no shape")
            elif any(not isinstance(side, int) or side < 1 for side in sides):
                yield Finding(tensor.name, kind, "unbounded-shape", f"its shape is {sides}")


def _graph(graph: onnx.GraphProto, outer: dict[str, onnx.TensorProto]) -> Iterator[Finding]:
    from onnx import TensorProto

    constants = {**outer, **{tensor.name: tensor for tensor in graph.initializer}}
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield Finding(tensor.name, "initializer", "external-data", "it lies in another file")
    yield from _nodes(graph.node, constants)


def _nodes(nodes: Iterable[onnx.NodeProto], constants: dict[str, onnx.TensorProto]) -> Iterator[Finding]:
    from onnx import TensorProto

    known = dict(constants)
    for node in nodes:
        name = node.name or next(iter(node.output), "")

        def finding(rule: str, detail: str, name: str = name, op: str = node.op_type) -> Finding:
            return Finding(name, op, rule, detail)

        if node.domain not in _STANDARD:
            yield finding("custom-domain", f"it is of {node.domain}, not of the ONNX standard")
            continue
        for attribute in node.attribute:
            held = [attribute.t] if attribute.HasField("t") else []
            if any(tensor.data_location == TensorProto.EXTERNAL for tensor in (*held, *attribute.tensors)):
                yield finding("external-data", f"its attribute {attribute.name!r} lies in another file")
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graph(inner, known)
        if node.op_type == "Constant" and len(node.output) == 1:
            known.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        for check in _CHECKS:
            for rule, detail in check(node, known):
                yield finding(rule, detail)


_Complaint = tuple[str, str]
_Check = Callable[[Any, dict[str, Any]], Iterator[_Complaint]]


def _operator(node: onnx.NodeProto, constants: dict[str, Any]) -> Iterator[_Complaint]:
    op = node.op_type
    if op in _CONTROL_FLOW:
        yield "control-flow", "it is control flow, which devices refuse"
    elif op in _QLINEAR:
        yield "qlinear", "it computes on integers in the old operator format"
    elif op == "DynamicQuantizeLinear":
        yield "dynamic-quantization", "it quantizes by what each sample happens to hold"
    elif op in _SPECTRAL:
        yield "spectral", "TensorRT does not parse it"
    elif op in _UNKNOWN_TO_TENSORRT or op.startswith(_FAMILIES) or op in ("ConcatFromSequence", "SplitToSequence"):
        yield "unsupported-operator", "TensorRT does not parse it"


def _quantization(node: onnx.NodeProto, constants: dict[str, Any]) -> Iterator[_Complaint]:
    from onnx import TensorProto

    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    source = constants.get(node.input[0])
    if node.op_type == "DequantizeLinear" and source is not None:
        if source.data_type == TensorProto.INT32:
            yield "int32-dequantize", f"it dequantizes {node.input[0]!r}, which is int32"
        elif source.data_type == TensorProto.UINT8:
            yield "uint8-weight", f"it dequantizes the weight {node.input[0]!r}, which is uint8"
    if len(node.input) > 2 and node.input[2]:
        point = constants.get(node.input[2])
        if point is None:
            yield "dynamic-quantization", f"its zero point {node.input[2]!r} is computed, not constant"
        elif point.data_location != TensorProto.EXTERNAL and _any_nonzero(point):
            yield "zero-point", f"its zero point {node.input[2]!r} is not 0"


def _limits(node: onnx.NodeProto, constants: dict[str, Any]) -> Iterator[_Complaint]:
    from onnx import numpy_helper

    if node.op_type == "Resize" and any(a.name == "antialias" and a.i for a in node.attribute):
        yield "resize-antialias", "it resizes with antialias"
    if node.op_type == "TopK" and len(node.input) > 1 and node.input[1] in constants:
        values = int(np.max(numpy_helper.to_array(constants[node.input[1]])))
        if values >= _MOST_OF_TOPK:
            yield "topk", f"it asks for {values} values"


_CHECKS: tuple[_Check, ...] = (_operator, _quantization, _limits)


def _any_nonzero(tensor: onnx.TensorProto) -> bool:
    from onnx import numpy_helper

    return bool(np.any(numpy_helper.to_array(tensor).astype(np.float64)))
