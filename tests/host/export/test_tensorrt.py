"""TensorRT on a host that has none: the family's real parser and compiler, and what a board needs to build."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex

import numpy as np
import onnx
import pytest
import torch
from edgetl_runtime.engines import checks
from edgetl_runtime.engines.tensorrt_builder import BuildOptions
from edgetl_runtime.engines.tensorrt_plans import plan_key
from edgetl_runtime.preprocess import ImagePreprocess
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType
from torch import nn

from edgetl.backbones import from_module
from edgetl.errors import ExportError, MissingPackageError
from edgetl.export import export_onnx
from edgetl.export.lint import lint
from edgetl.export.tensorrt import AheadOfTime, build_recipe, check_ahead_of_time

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt_rtx: pip install 'edgetl[tensorrt-rtx]'"
)


@needs_compiler
def test_an_exported_graph_parses_and_compiles_without_a_gpu():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    network = nn.Sequential(*layers)
    extractor = from_module(network, ImagePreprocess(24, 20), 127.5, 1 / 127.5, name="small")
    found = check_ahead_of_time(export_onnx(extractor))
    assert isinstance(found, AheadOfTime)
    assert found.target == "SM86" and found.plan_bytes > 1000 and found.seconds > 0
    assert found.version[0].isdigit()


def graph_of(op, **attributes):
    node = helper.make_node("Relu", ["x"], ["y"], name="before")
    culprit = helper.make_node(op, ["y"], ["features"], name="culprit", **attributes)
    graph = helper.make_graph(
        [node, culprit],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8, 1))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 8, 2))],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@needs_compiler
@pytest.mark.parametrize("op", ["DFT", "Det"])
def test_a_graph_that_tensorrt_would_refuse_names_the_node(op):
    with pytest.raises(ExportError, match=rf"TensorRT would refuse this graph at the node {op} 'culprit'"):
        check_ahead_of_time(graph_of(op))


@needs_compiler
def test_what_cannot_be_asked_is_told_apart_from_what_is_refused():
    with pytest.raises(ExportError, match=r"refuse this graph as a whole"):
        check_ahead_of_time(b"rubbish")
    with pytest.raises(ExportError, match=r"could not be asked"):
        check_ahead_of_time(checks.TINY_GRAPH, timeout_s=-1.0)


def test_without_the_compiler_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"edgetl\[tensorrt-rtx\]"):
        check_ahead_of_time(checks.TINY_GRAPH)


@pytest.mark.parametrize(
    ("version", "precision", "words", "not_words"),
    [
        ("8.5.2", "fp32", set(), {"--stronglyTyped", "--fp16", "--int8"}),
        ("8.5.2", "int8", {"--fp16", "--int8"}, {"--stronglyTyped"}),
        ("10.3.0", "fp16", {"--stronglyTyped"}, {"--fp16"}),
        ("10.16.2", "int8", {"--stronglyTyped"}, {"--int8"}),
        ("11.4.1", "int8", set(), {"--int8", "--stronglyTyped"}),
    ],
)
def test_the_line_for_trtexec_says_what_the_runtimes_builder_does(version, precision, words, not_words):
    recipe = build_recipe(checks.TINY_GRAPH, version, "8.7", precision=precision, file_name="a bird.onnx")
    line = shlex.split(recipe.trtexec)
    assert line[:3] == ["trtexec", "--onnx=a bird.onnx", "--saveEngine=a bird.plan"]
    assert words <= set(line) and not not_words & set(line)
    assert {"--noTF32", "--memPoolSize=workspace:256"} <= set(line)


def test_the_key_is_that_of_the_runtime_and_changes_with_everything():
    recipe = build_recipe(checks.TINY_GRAPH, "10.3.0", "8.7")
    sha256 = hashlib.sha256(checks.TINY_GRAPH).hexdigest()
    assert recipe.key == plan_key(sha256, "10.3.0", "8.7", BuildOptions())
    assert recipe.options == BuildOptions().facts()
    others = [
        build_recipe(checks.TINY_GRAPH + b"\n", "10.3.0", "8.7"),
        build_recipe(checks.TINY_GRAPH, "10.3.1", "8.7"),
        build_recipe(checks.TINY_GRAPH, "10.3.0", "7.2"),
        build_recipe(checks.TINY_GRAPH, "10.3.0", "8.7", precision="fp16"),
        build_recipe(checks.TINY_GRAPH, "10.3.0", "8.7", workspace_bytes=1 << 20),
    ]
    assert all(other.key != recipe.key for other in others)


class Calibration:
    """Twenty random samples, the same for every setting."""

    def __init__(self):
        generator = np.random.default_rng(0)
        self.samples = [{"x": generator.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(20)]

    def get_next(self):
        return self.samples.pop() if self.samples else None


def quantized(tmp_path, **settings):
    """A small network through onnxruntime's quantizer with those settings."""
    from onnxruntime.quantization import quantize_static

    generator = np.random.default_rng(1)
    weights = numpy_helper.from_array(generator.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")
    bias = numpy_helper.from_array(generator.normal(size=4).astype(np.float32), "b")
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["features"], name="flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 4))],
        [weights, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", Calibration(), **settings)
    return (tmp_path / "int8.onnx").read_bytes()


SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}
S8S8 = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8, "per_channel": True}
RECIPES = {
    "defaults": ({}, {"int32-dequantize", "zero-point"}),
    "S8S8 with a quantized bias": ({**S8S8, "extra_options": SYMMETRIC}, {"int32-dequantize"}),
    "S8S8 symmetric without": ({**S8S8, "extra_options": {**SYMMETRIC, "QuantizeBias": False}}, set()),
    "U8S8": ({"per_channel": True, "extra_options": {"QuantizeBias": False}}, {"zero-point"}),
    "operator format": ({"quant_format": QuantFormat.QOperator}, {"qlinear", "zero-point"}),
}


@needs_compiler
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_lint_and_the_compiler_agree_on_every_way_to_quantize(recipe, tmp_path):
    settings, rules = RECIPES[recipe]
    graph = quantized(tmp_path, **settings)
    found = {finding.rule for finding in lint(graph)}
    if rules:
        assert found & rules
        with pytest.raises(ExportError, match="TensorRT would refuse this graph"):
            check_ahead_of_time(graph, precision="int8")
    else:
        assert not found
        assert check_ahead_of_time(graph, precision="int8").plan_bytes


def resize(antialias):
    sizes = numpy_helper.from_array(np.array([1, 3, 4, 4], np.int64), "sizes")
    inputs, how = ["x", "", "", "sizes"], {"antialias": antialias, "mode": "linear"}
    node = helper.make_node("Resize", inputs, ["features"], "culprit", **how)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 3, 4, 4))],
        [sizes],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


@needs_compiler
def test_they_agree_on_antialiased_resizing_too():
    assert lint(resize(0)) == () and check_ahead_of_time(resize(0)).plan_bytes
    assert [finding.node for finding in lint(resize(1))] == ["culprit"]
    with pytest.raises(ExportError, match="'culprit'"):
        check_ahead_of_time(resize(1))
