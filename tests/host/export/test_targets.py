"""Every target of the table: its files stand for the very graph that devices run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgetl_runtime.engines import checks
from edgetl_runtime.errors import SourceError
from edgetl_runtime.preprocess import ImagePreprocess
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgetl.backbones import from_module
from edgetl.errors import ExportError, MissingPackageError
from edgetl.export import EXPORTERS, export, export_onnx, save
from edgetl.profiles import load_profiles

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")


def test_the_graph_is_a_target_of_its_own():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    extractor = from_module(network, ImagePreprocess(24, 20), 127.5, 1 / 127.5, name="small")
    assert export(extractor) == {".onnx": export_onnx(extractor)}
    (taken,) = onnx.load_from_string(export(extractor, batch=3)[".onnx"]).graph.input
    assert taken.type.tensor_type.shape.dim[0].dim_value == 3
    assert export(b"any graph") == {".onnx": b"any graph"}
    assert sorted(EXPORTERS) == list(EXPORTERS)


@needs_openvino
def test_openvinos_form_computes_the_same_features(tmp_path: Path):
    from edgetl_runtime.engines.openvino_engine import import_openvino

    xml, weights = save(checks.TINY_GRAPH, tmp_path, "openvino", "tiny")
    assert (xml.name, weights.name) == ("tiny.xml", "tiny.bin")
    core = import_openvino().Core()
    model = core.compile_model(core.read_model(str(xml)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for image in checks.tiny_samples(4):
        assert np.allclose(model([image])[0], checks.expected_features(image), rtol=1e-4)
    # Weights as they are, not halved as OpenVINO would by itself.
    floats = sum(numpy_helper.to_array(t).nbytes for t in onnx.load_from_string(checks.TINY_GRAPH).graph.initializer)
    assert len(weights.read_bytes()) >= floats


@needs_openvino
def test_what_openvino_cannot_convert_or_changes_is_an_export_error(monkeypatch):
    node = helper.make_node("Det", ["x"], ["features"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 2))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for wrong in (model.SerializeToString(), b"rubbish"):
        with pytest.raises(ExportError, match="cannot convert the graph"):
            export(wrong, "openvino")
    monkeypatch.setattr("edgetl.export.openvino._MAX_REL", -1.0)
    with pytest.raises(ExportError, match="computes something else"):
        export(checks.TINY_GRAPH, "openvino")


def with_node(op, kind):
    """The tiny graph with one more initializer of that kind, or one more node."""
    model = onnx.load_from_string(checks.TINY_GRAPH)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, kind), "more"))
    if op:
        model.graph.node.append(helper.make_node(op, ["more", "more"], ["unused"]))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("graph", "precision"),
    [
        (checks.TINY_GRAPH, "fp32"),
        (with_node(None, np.float16), "fp16"),
        (with_node("QuantizeLinear", np.float32), "int8"),
    ],
)
def test_tensorrts_files_say_how_every_jetpack_builds_its_plan(graph, precision):
    found = export(graph, "tensorrt")
    assert found[".onnx"] == graph
    recipes = json.loads(found[".tensorrt.json"])
    jetsons = {p.id for p in load_profiles() if "tensorrt" in p.engines.value and p.family == "jetson"}
    assert {device for recipe in recipes for device in recipe["devices"]} == jetsons
    for recipe in recipes:
        assert recipe["options"]["precision"] == precision and recipe["key"]["sm"] == recipe["sm"]
        major = int(recipe["key"]["tensorrt"].split(".")[0])
        assert ("--fp16" in recipe["trtexec"]) == (major == 8 and precision != "fp32")
        assert ("--stronglyTyped" in recipe["trtexec"]) == (major == 10)
    assert {"5.1", "6.2", "7.2"} <= {recipe["jetpack"] for recipe in recipes}


def test_a_missing_package_and_an_unwritable_folder_are_said(monkeypatch, tmp_path: Path):
    monkeypatch.setitem(EXPORTERS, "abacus", ("edgetl.export.abacus", "no_such_package", "pip install beads"))
    with pytest.raises(MissingPackageError, match="no_such_package: pip install beads"):
        export(b"", "abacus")
    with pytest.raises(SourceError, match="cannot write"):
        save(checks.TINY_GRAPH, tmp_path / "absent")
