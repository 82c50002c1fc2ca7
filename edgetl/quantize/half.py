"""FP16 as a precision of its own: weights and layers in float16, with the casts written in the graph."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from edgetl.errors import QuantizeError
from edgetl.export.graph import finish, prune
from edgetl.quantize.graph import entry_nodes, in_order

if TYPE_CHECKING:
    import onnx

__all__ = ["half_graph"]


def half_graph(model: onnx.ModelProto) -> bytes:
    """The graph of a prepared model in float16; raises QuantizeError.

    Input and features keep their types: a strongly typed TensorRT reads each precision off the graph. Cast and
    normalisation before the first layer stay in float32, where the pixel minus its mean is exact.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    given = onnx.ModelProto()
    given.CopyFrom(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one a weight that is too small for float16; fidelity is judged after
            done = convert_float_to_float16(given, keep_io_types=True, node_block_list=list(entry_nodes(model)))
    except Exception as error:  # its own types, without a common root
        raise QuantizeError(f"onnxruntime cannot convert the graph to float16: {error}") from error
    _drop_detours(in_order(done))
    return finish(done)


def _drop_detours(model: onnx.ModelProto) -> None:
    """Between two float32 nodes the converter goes down to float16 and up again, which rounds for nothing."""
    from onnx import TensorProto

    casts = {n.output[0]: (n.input[0], n.attribute[0].i) for n in model.graph.node if n.op_type == "Cast"}
    around = {}
    for up, (middle, kind) in casts.items():
        if kind == TensorProto.FLOAT and casts.get(middle, ("", 0))[1] == TensorProto.FLOAT16:
            around[up] = casts[middle][0]
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            while name in around:
                name = around[name]
            node.input[i] = name
    prune(model, [tensor.name for tensor in model.graph.output])
