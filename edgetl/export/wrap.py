"""A user's own ONNX graph, cut at its feature tensor, behind the same input and output as every other extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.preprocess import ImagePreprocess

from edgetl.errors import ExportError
from edgetl.export.graph import OUTPUT, load, prune

if TYPE_CHECKING:
    import onnx

    from edgetl.features import Extractor

__all__ = ["network_input", "wrap"]

_PREFIX = "network_"


def network_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one tensor that `model` is fed with; raises ExportError when there are more, or none."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    fed: list[onnx.ValueInfoProto] = [tensor for tensor in model.graph.input if tensor.name not in initializers]
    if len(fed) != 1:
        raise ExportError(
            f"an extractor has exactly one input; this graph has {len(fed)}: {[tensor.name for tensor in fed]}"
        )
    return fed[0]


def wrap(extractor: Extractor, graph: bytes, batch: int) -> onnx.ModelProto:
    """The graph with Cast, Sub, Mul and Transpose before it and its feature flattened to (batch, D) float32."""
    from onnx import TensorProto, compose, helper, numpy_helper

    model, spec = load(graph), extractor.preprocess.input
    prune(model, [str(extractor.output)])
    # With a prefix on everything inside, no name of ours can meet one of theirs.
    model = compose.add_prefix(model, _PREFIX)
    entry = network_input(model)
    kind = entry.type.tensor_type.elem_type
    dims = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    if dims[0] not in (0, batch):
        raise ExportError(f"{extractor.name} has a fixed batch of {dims[0]}; it cannot be exported with batch {batch}")
    nodes: list[onnx.NodeProto] = []
    last = spec.name

    def step(op: str, *extra: str, **attributes: Any) -> None:
        nonlocal last
        result = f"{op.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(op, [last, *extra], [result], **attributes))
        last = result

    if spec.dtype == "uint8" and kind != TensorProto.UINT8:
        step("Cast", to=TensorProto.FLOAT)
    for op, name, figures, neutral in (("Sub", "mean", extractor.mean, 0.0), ("Mul", "scale", extractor.scale, 1.0)):
        if any(figure != neutral for figure in figures):
            model.graph.initializer.append(numpy_helper.from_array(np.array(figures, np.float32), name))
            step(op, name)
    if kind == TensorProto.FLOAT16:
        step("Cast", to=TensorProto.FLOAT16)
    if isinstance(extractor.preprocess, ImagePreprocess) and dims[3] != spec.shape[3]:
        step("Transpose", perm=[0, 3, 1, 2])
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == entry.name:
                node.input[i] = last
    nodes.extend(model.graph.node)
    last = _PREFIX + str(extractor.output)
    step("Flatten", axis=1)
    nodes.append(helper.make_node("Cast", [last], [OUTPUT], to=TensorProto.FLOAT))
    del model.graph.node[:], model.graph.input[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    dtype = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    model.graph.input.append(helper.make_tensor_value_info(spec.name, dtype, [batch, *spec.shape[1:]]))
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, extractor.dim]))
    return model
