"""TensorRT on a host that has none: the family's real parser and compiler, and what a board needs to build."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex

import pytest
import torch
from edgetl_runtime.engines import checks
from edgetl_runtime.engines.tensorrt_builder import BuildOptions
from edgetl_runtime.engines.tensorrt_plans import plan_key
from edgetl_runtime.preprocess import ImagePreprocess
from onnx import TensorProto, helper
from torch import nn

from edgetl.backbones import from_module
from edgetl.errors import ExportError, MissingPackageError
from edgetl.export import export_onnx
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
