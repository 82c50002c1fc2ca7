"""A user's sentence encoder in ONNX behind one input: token ids (1, T) float32, -1 after the last, in; (1, D) out."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgetl.backbones.request import Request
from edgetl.errors import BackboneError
from edgetl.export.graph import load, prune

__all__ = ["sentence_graph"]

_PREFIX = "encoder_"
_FED = {"input_ids", "attention_mask", "token_type_ids"}


def sentence_graph(graph: bytes, request: Request, length: int, pooling: str, normalise: bool) -> tuple[bytes, str]:
    """The whole graph and the name of its output; raises BackboneError.

    The graph takes `input_ids`, and maybe `attention_mask` and `token_type_ids`, as exporters name them. `pooling`
    "mean" or "cls" makes hidden states (1, T, D) one vector; "" takes the output as it is. What is added means the
    same in every opset.
    """
    from onnx import TensorProto, compose, helper, numpy_helper

    model = load(graph)
    output = _output([tensor.name for tensor in model.graph.output], request)
    if output not in {name for node in model.graph.node for name in node.output}:
        raise BackboneError(f"{request.name} has no tensor {output!r} to take as `output`")
    prune(model, [output])
    constants = {tensor.name for tensor in model.graph.initializer}  # in old graphs inputs as well
    kinds = {one.name: one.type.tensor_type.elem_type for one in model.graph.input if one.name not in constants}
    if "input_ids" not in kinds or not set(kinds) <= _FED:
        raise BackboneError(f"{request.name} takes {sorted(kinds)}; a sentence encoder takes {sorted(_FED)}")
    if not set(kinds.values()) <= {TensorProto.INT64, TensorProto.INT32}:
        raise BackboneError(f"{request.name} must take integers, as tokens are")
    model = compose.add_prefix(model, _PREFIX)
    del model.graph.input[:], model.graph.output[:]
    before: list[Any] = []
    after: list[Any] = []

    def constant(name: str, values: Any) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(nodes: list[Any], operator: str, inputs: list[str], result: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [result], **attributes))
        return result

    zero, one = constant("zero", np.zeros(1, np.float32)), constant("one", np.ones(1, np.float32))
    absent = node(before, "Less", ["text", zero], "is_absent")
    absent = node(before, "Cast", [absent], "absent", to=TensorProto.FLOAT)
    there = node(before, "Sub", [one, absent], "there")
    words = node(before, "Max", ["text", zero], "words")
    node(before, "Cast", [words], f"{_PREFIX}input_ids", to=kinds["input_ids"])
    if "attention_mask" in kinds:
        node(before, "Cast", [there], f"{_PREFIX}attention_mask", to=kinds["attention_mask"])
    if "token_type_ids" in kinds:
        dtype = helper.tensor_dtype_to_np_dtype(kinds["token_type_ids"])
        constant(f"{_PREFIX}token_type_ids", np.zeros((1, length), dtype))
    last = _PREFIX + output
    if pooling:
        if pooling == "cls":
            row = constant("row", np.eye(1, length, dtype=np.float32)[None])
        else:
            row = node(after, "Reshape", [there, constant("row_shape", np.array([1, 1, length]))], "row")
        count = node(after, "MatMul", [row, constant("ones", np.ones((1, length, 1), np.float32))], "count")
        last = node(after, "Div", [node(after, "MatMul", [row, last], "summed"), count], "pooled")
    last = node(after, "Reshape", [last, constant("flat_shape", np.array([1, -1]))], "vector") if pooling else last
    if normalise:
        turned = node(after, "Transpose", [last], "turned", perm=[1, 0])
        square = node(after, "MatMul", [last, turned], "square")
        square = node(after, "Max", [square, constant("least", np.full(1, 1e-24, np.float32))], "square_above_zero")
        last = node(after, "Div", [last, node(after, "Sqrt", [square], "norm")], "unit")
    nodes = [*before, *model.graph.node, *after]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.input.append(helper.make_tensor_value_info("text", TensorProto.FLOAT, [1, length]))
    model.graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, None))
    return model.SerializeToString(), last


def _output(outputs: list[str], request: Request) -> str:
    """The tensor asked for; else as exporters name it; else the only one, or the first."""
    if request.output:
        return request.output
    named = [name for name in ("sentence_embedding", "last_hidden_state") if name in outputs]
    return (named or outputs)[0]
