"""Whatever some device would choke on is found before any engine sees it, with the node and the way out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgetl_runtime.engines import checks
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgetl.errors import ExportError
from edgetl.export import graph as surgery
from edgetl.export.lint import RULES, Finding, lint, refuse


def model_of(nodes, initializers=(), *, dims=(1, 4), functions=(), domains=("",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, dims)],
        list(initializers),
    )
    opsets = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def tensor(name, values, dtype):
    return numpy_helper.from_array(np.array(values, dtype), name)


SCALE = tensor("scale", 0.1, np.float32)


def pair(kind, point, **more):
    """x -> Quantize -> Dequantize -> features, with that zero point."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "point"], ["q"], name="quantize", **more),
        helper.make_node("DequantizeLinear", ["q", "scale", "point"], ["features"], name="dequantize"),
    ]
    return model_of(nodes, [SCALE, tensor("point", point, kind)])


def weight(kind):
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["d"], name="dequantize"),
        helper.make_node("Add", ["x", "d"], ["features"]),
    ]
    return model_of(nodes, [SCALE, tensor("w", [[1, 2, 3, 4]], kind)])


def one(op, inputs=("x",), initializers=(), *, domain="", **attributes):
    node = helper.make_node(op, list(inputs), ["features"], name="culprit", domain=domain, **attributes)
    return model_of([node], initializers, domains=("", domain) if domain else ("",))


def external():
    held = tensor("w", [[1, 2, 3, 4]], np.float32)
    held.data_location = TensorProto.EXTERNAL
    return model_of([helper.make_node("Add", ["x", "w"], ["features"])], [held])


def external_constant():
    held = tensor("w", [[1, 2, 3, 4]], np.float32)
    held.data_location = TensorProto.EXTERNAL
    return one("Constant", (), value=held)


def branch(inner):
    result = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 4])]
    return helper.make_graph([inner], "b", [], result)


def with_function():
    body = [helper.make_node("DynamicQuantizeLinear", ["a"], ["b", "c", "d"], name="inside")]
    function = helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("Twice", ["x"], ["features"], domain="own", name="caller")
    return model_of([node], functions=[function], domains=("", "own"))


def antialias(value):
    sizes = tensor("sizes", [1, 4], np.int64)
    return one("Resize", ("x", "", "", "sizes"), [sizes], antialias=value, mode="linear")


def relu(dims):
    return model_of([helper.make_node("Relu", ["x"], ["features"])], dims=dims)


NEG = helper.make_node("Neg", ["x"], ["inner"], name="inside")
DYNAMIC = helper.make_node("DynamicQuantizeLinear", ["x"], ["inner", "s", "p"], name="inside")
CASES = {
    "non-zero zero point": (pair(np.uint8, 128), [("quantize", "zero-point"), ("dequantize", "zero-point")]),
    "one of many zero points": (
        pair(np.int8, [0, 0, 1, 0], axis=1),
        [("quantize", "zero-point"), ("dequantize", "zero-point")],
    ),
    "computed zero point": (
        model_of([
            helper.make_node("Cast", ["x"], ["point"], to=TensorProto.UINT8, name="cast"),
            helper.make_node("QuantizeLinear", ["x", "scale", "point"], ["features"], name="quantize"),
        ], [SCALE]),
        [("quantize", "dynamic-quantization")],
    ),
    "constant node as zero point": (
        model_of([
            helper.make_node("Constant", [], ["point"], value=tensor("p", 3, np.uint8), name="constant"),
            helper.make_node("QuantizeLinear", ["x", "scale", "point"], ["features"], name="quantize"),
        ], [SCALE]),
        [("quantize", "zero-point")],
    ),
    "int32 bias": (weight(np.int32), [("dequantize", "int32-dequantize")]),
    "uint8 weight": (weight(np.uint8), [("dequantize", "uint8-weight")]),
    "dynamic quantization": (one("DynamicQuantizeLinear"), [("culprit", "dynamic-quantization")]),
    "antialias": (antialias(1), [("culprit", "resize-antialias")]),
    "top 4000": (one("TopK", ("x", "k"), [tensor("k", [4000], np.int64)]), [("culprit", "topk")]),
    "external data": (external(), [("w", "external-data")]),
    "external constant": (external_constant(), [("culprit", "external-data")]),
    "custom domain": (one("FusedConv", domain="com.microsoft"), [("culprit", "custom-domain")]),
    "function": (
        with_function(),
        [("own.Twice", "function"), ("inside", "dynamic-quantization"), ("caller", "custom-domain")],
    ),
    "branch": (
        one("If", ("x",), then_branch=branch(NEG), else_branch=branch(DYNAMIC)),
        [("inside", "dynamic-quantization"), ("culprit", "control-flow")],
    ),
    "no shape": (relu(None), [("x", "unbounded-shape"), ("features", "unbounded-shape")]),
    "free batch": (relu(("N", 4)), [("x", "unbounded-shape"), ("features", "unbounded-shape")]),
    **{
        op: (one(op), [("culprit", "qlinear")])
        for op in ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
    },
    **{op: (one(op), [("culprit", "spectral")]) for op in ("DFT", "STFT", "MelWeightMatrix", "HannWindow")},
    **{op: (one(op), [("culprit", "control-flow")]) for op in ("Loop", "Scan")},
    **{op: (one(op), [("culprit", "unsupported-operator")]) for op in ("Unique", "SequenceAt", "StringNormalizer")},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_found_with_its_node_and_a_way_out(case):
    model, expected = CASES[case]
    found = lint(model)
    assert [(finding.node, finding.rule) for finding in found] == expected
    assert found == lint(model.SerializeToString())
    for finding in found:
        assert finding.way_out == RULES[finding.rule] and finding.way_out in str(finding)
        assert repr(finding.node) in str(finding)


@pytest.mark.parametrize("case", CASES)
def test_no_export_lets_it_through(case):
    model, expected = CASES[case]
    with pytest.raises(ExportError) as caught:
        surgery.finish(model)
    for node, rule in expected:
        assert repr(node) in str(caught.value) and RULES[rule] in str(caught.value)


def test_every_rule_is_tried_here():
    assert {rule for _, expected in CASES.values() for _, rule in expected} == set(RULES)


@pytest.mark.parametrize(
    "model",
    [
        pair(np.int8, 0),
        pair(np.uint8, 0),
        weight(np.int8),
        antialias(0),
        one("TopK", ("x", "k"), [tensor("k", [3839], np.int64)]),
        one("Relu"),
        one("ReverseSequence", ("x", "l"), [tensor("l", [4], np.int64)]),
    ],
    ids=["int8 pair", "uint8 pair", "int8 weight", "resize", "top 3839", "relu", "reverse sequence"],
)
def test_what_every_device_takes_is_clean(model):
    assert lint(model) == ()


def test_a_long_list_is_cut_and_counted():
    findings = [Finding(f"node {i}", "If", "control-flow", "it branches") for i in range(11)]
    with pytest.raises(ExportError, match=r"and 3 more"):
        refuse(findings)
    refuse([])


def test_what_is_no_graph_is_an_export_error():
    with pytest.raises(ExportError, match="not an ONNX graph"):
        lint(b"\xff rubbish")


def test_the_tiny_graph_of_the_engine_checks_is_what_its_oracle_computes():
    """The bytes that ship in the runtime are clean, and onnx's own NumPy evaluation agrees with the oracle."""
    model = onnx.load_from_string(checks.TINY_GRAPH)
    onnx.checker.check_model(model, full_check=True)
    assert lint(model) == ()
    assert [node.op_type for node in model.graph.node] == [
        "Cast", "Sub", "Mul", "Transpose", "Conv", "Relu", "GlobalAveragePool", "Flatten",
    ]  # fmt: skip
    evaluator = ReferenceEvaluator(model)
    for image in checks.tiny_samples(3):
        features = evaluator.run(None, {"image": image})[0]
        assert np.allclose(features, checks.expected_features(image), rtol=1e-5)
