"""The graph before it is quantized: batch normalisation folded, nodes named, and taken apart into layer groups."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.errors import QuantizeError
from edgetl.export.graph import load

if TYPE_CHECKING:
    import onnx

__all__ = ["MOST_GROUPS", "LayerGroup", "entry_nodes", "exit_nodes", "in_order", "layer_groups", "prepare"]

MOST_GROUPS = 12
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


@dataclass(frozen=True)
class LayerGroup:
    """Layers that follow each other, with the nodes between them: what is kept in float32 together, or not."""

    name: str
    nodes: tuple[str, ...]


def prepare(graph: bytes) -> onnx.ModelProto:
    """The model with what onnxruntime's own preprocessing for quantization does to it, and a name for each node.

    Batch normalisation that is left in a user's own graph goes into its convolution, casts that do nothing go.
    Raises QuantizeError.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        given, done = Path(folder) / "given.onnx", Path(folder) / "done.onnx"
        given.write_bytes(graph)
        try:
            # Shapes are static already: symbolic inference has nothing to add.
            quant_pre_process(given, done, skip_symbolic_shape=True)
            model = load(done.read_bytes())
        except Exception as error:  # onnxruntime's own types, without a common root
            raise QuantizeError(f"onnxruntime cannot prepare the graph for quantization: {error}") from error
    for i, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{i}"
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model)
    _drop_last_cast(model)
    return model


def _drop_last_cast(model: onnx.ModelProto) -> None:
    """A cast of the features that does nothing: onnxruntime leaves it, and NNCF stumbles over it."""
    output = model.graph.output[0].name
    last = next((node for node in model.graph.node if output in node.output), None)
    kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.value_info}
    if last is None or last.op_type != "Cast" or kinds.get(last.input[0]) != last.attribute[0].i:
        return
    source = last.input[0]
    model.graph.node.remove(last)
    for info in [info for info in model.graph.value_info if info.name == source]:
        model.graph.value_info.remove(info)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == source:
                    names[i] = output


def entry_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the nodes before the first layer: cast, normalisation and layout, which stay in float32."""
    first = _weighted(model)[0]
    return tuple(node.name for node in list(model.graph.node)[:first])


def exit_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the nodes after the last layer: pooling and the like.

    They stay in float32: features that are averaged there are finer than 8 bits, at no cost.
    """
    last = _weighted(model)[-1]
    return tuple(node.name for node in list(model.graph.node)[last + 1 :])


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with each node after those it reads; the quantizers leave them in any order."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    OnnxModel(model).topological_sort()
    return model


def layer_groups(model: onnx.ModelProto, most: int = MOST_GROUPS) -> tuple[LayerGroup, ...]:
    """The layers with weights, in the order of the graph, in at most `most` groups of about the same number."""
    nodes, weighted = list(model.graph.node), _weighted(model)
    count = min(most, len(weighted))
    borders = [round(i * len(weighted) / count) for i in range(count + 1)]
    groups = []
    for start, stop in itertools.pairwise(borders):
        until = weighted[stop] if stop < len(weighted) else weighted[-1] + 1
        inside = nodes[weighted[start] : until]
        span = f"layer {start + 1}" if stop == start + 1 else f"layers {start + 1} to {stop}"
        operators = sorted({node.op_type for node in inside if node.op_type in _WEIGHTED})
        groups.append(LayerGroup(f"{span} ({', '.join(operators)})", tuple(node.name for node in inside)))
    return tuple(groups)


def _weighted(model: onnx.ModelProto) -> list[int]:
    """Positions of the nodes that multiply by constant weights; raises QuantizeError where there is none."""
    constant = {tensor.name for tensor in model.graph.initializer}
    found = [
        i
        for i, node in enumerate(model.graph.node)
        if node.op_type in _WEIGHTED and constant.intersection(node.input[:2])
    ]
    if not found:
        raise QuantizeError("the graph has no layer with weights that could be quantized")
    return found
