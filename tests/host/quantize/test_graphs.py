"""INT8 and float16 graphs: what their engines demand of them, and that they still compute the same."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgetl.backbones import from_module
from edgetl.errors import QuantizeError
from edgetl.export import export_onnx
from edgetl.export.lint import lint
from edgetl.parity import cosines
from edgetl.quantize import PRECISIONS, calibrate, choose_calibration, half_graph, prepare
from edgetl.quantize.bias import corrected_biases
from edgetl.quantize.graph import entry_nodes, exit_nodes, layer_groups
from edgetl.quantize.ladder import engine_features
from edgetl.quantize.recipes import recipes_of
from tests.runtime import golden

S8S8, U8S8 = PRECISIONS["s8s8"], PRECISIONS["u8s8"]
TENSORS = [frame.reshape(1, 8, 8, 1) for frame in golden.frames()[:60]]


def network() -> Any:
    torch.manual_seed(3)
    return from_module(
        torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
            torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.ReLU(),
            torch.nn.Conv2d(8, 12, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(),
        ).eval(),
        ImagePreprocess(8, 8, channels="L"), 127.5, 1 / 127.5, name="tiny/conv",
    )  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> bytes:
    return export_onnx(network())


@pytest.fixture(scope="module")
def model(graph: bytes) -> onnx.ModelProto:
    return prepare(graph)


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto) -> Any:
    return calibrate(model, TENSORS[:30])


def nodes(graph: bytes) -> list[onnx.NodeProto]:
    return list(onnx.load_from_string(graph).graph.node)


def constants(graph: bytes) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(graph).graph.initializer}


@pytest.mark.parametrize("recipe", [S8S8, U8S8], ids=lambda recipe: recipe.name)
def test_weights_are_int8_a_channel(ranges: Any, recipe: Any) -> None:
    quantized = ranges.graph(recipe)
    found, values = nodes(quantized), constants(quantized)
    producers = {node.output[0]: node for node in found}
    layers = [node for node in found if node.op_type == "Conv"]
    assert len(layers) == 3
    for layer in layers:
        weights = producers[layer.input[1]]
        assert weights.op_type == "DequantizeLinear"
        assert values[weights.input[0]].dtype == np.int8
        assert values[weights.input[1]].shape == (values[weights.input[0]].shape[0],)
        assert not values[weights.input[2]].any()
        if recipe is S8S8:  # TensorRT parses no other
            assert values[layer.input[2]].dtype == np.float32
        else:  # what onnxruntime 1.19 needs to run the layer in INT8
            assert values[producers[layer.input[2]].input[0]].dtype == np.int32
        assert producers[layer.input[0]].op_type == "DequantizeLinear"


def test_what_tensorrt_would_refuse_is_in_u8s8_only(ranges: Any) -> None:
    assert lint(ranges.graph(S8S8)) == ()
    assert {finding.rule for finding in lint(ranges.graph(U8S8))} <= {"int32-dequantize", "zero-point"}


@pytest.mark.parametrize("recipe", [S8S8, U8S8], ids=lambda recipe: recipe.name)
def test_the_pixels_are_normalised_and_the_features_pooled_in_float(ranges: Any, graph: bytes, recipe: Any) -> None:
    quantized = nodes(ranges.graph(recipe))
    before = [node.op_type for node in nodes(graph)]
    first = before.index("Conv")
    assert [node.op_type for node in quantized[:first]] == before[:first]
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in quantized[-2:]}
    shape = onnx.load_from_string(ranges.graph(recipe)).graph
    assert shape.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert shape.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["s8s8", "u8s8", "fp16"])
def test_every_precision_computes_the_same_in_every_engine(
    ranges: Any, model: onnx.ModelProto, graph: bytes, engine: str, name: str
) -> None:
    pytest.importorskip(engine)
    other = half_graph(model) if name == "fp16" else ranges.graph(PRECISIONS[name])
    plain = engine_features(graph, TENSORS, "onnxruntime", 1)
    assert cosines(plain, engine_features(other, TENSORS, engine, 1)).min() > (0.9999 if name == "fp16" else 0.99)


def test_layers_that_are_kept_in_float_give_float_features(ranges: Any, graph: bytes, model: onnx.ModelProto) -> None:
    groups = layer_groups(model)
    everything = [node for group in groups for node in group.nodes]
    assert len(groups) == 3 and len(everything) == len({*everything})
    assert {*entry_nodes(model), *everything, *exit_nodes(model)} == {node.name for node in model.graph.node}
    plain = engine_features(graph, TENSORS, "onnxruntime", 1)
    kept = engine_features(ranges.graph(U8S8, everything), TENSORS, "onnxruntime", 1)
    assert np.allclose(kept, plain, rtol=1e-5, atol=1e-6)
    rounded = engine_features(ranges.graph(U8S8), TENSORS, "onnxruntime", 1)
    assert not np.allclose(rounded, plain, rtol=1e-5, atol=1e-6)


def test_float16_halves_the_weights_and_says_its_casts(model: onnx.ModelProto, graph: bytes) -> None:
    half = half_graph(model)
    kinds = Counter(node.op_type for node in nodes(half))
    assert {value.dtype for value in constants(half).values() if value.ndim > 1} == {np.dtype(np.float16)}
    # In: pixels to float32, normalised, then one cast down; out: one cast up.
    assert kinds["Cast"] == Counter(node.op_type for node in nodes(graph))["Cast"] + 2
    assert lint(half) == ()
    declared = onnx.load_from_string(half).graph
    assert declared.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert declared.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_batch_normalisation_of_a_users_own_graph_is_folded_first() -> None:
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.normal(size=(4, 3, 3, 3)), "scale": generator.uniform(1, 2, 4), "b": generator.normal(size=4),
        "mean": generator.normal(size=4), "var": generator.uniform(1, 2, 4),
    }  # fmt: skip
    body = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "b", "mean", "var"], ["n"]),
        helper.make_node("Flatten", ["n"], ["features"]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 5])
    y = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 36])
    whole = helper.make_model(
        helper.make_graph(body, "g", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    assert [node.op_type for node in prepare(whole.SerializeToString()).graph.node] == ["Conv", "Flatten"]


def test_a_cast_of_the_features_that_does_nothing_goes() -> None:
    """NNCF cannot take it, and a user's own graph gets one when it is cut."""
    weights = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    body = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Cast", ["f"], ["features"], to=TensorProto.FLOAT),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2, 2])
    y = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 16])
    whole = helper.make_model(
        helper.make_graph(body, "g", [x], [y], [weights]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    prepared = prepare(whole.SerializeToString())
    onnx.checker.check_model(prepared, full_check=True)
    assert [node.op_type for node in prepared.graph.node] == ["Conv", "Flatten"]
    assert [tensor.name for tensor in prepared.graph.output] == ["features"]


def test_a_graph_without_layers_cannot_be_quantized() -> None:
    extractor = from_module(torch.nn.Flatten(), ArrayPreprocess((4,)))
    prepared = prepare(export_onnx(extractor))
    with pytest.raises(QuantizeError, match="no layer"):
        calibrate(prepared, [np.zeros((1, 4), np.float32)])
    with pytest.raises(QuantizeError, match="calibration samples"):
        calibrate(prepared, [])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=80), st.integers(1, 40))
def test_calibration_samples_are_balanced_over_the_classes(labels: list[str], count: int) -> None:
    chosen = choose_calibration(labels, count)
    assert len(chosen) == len({*chosen}) == min(count, len(labels))
    taken, there = Counter(labels[i] for i in chosen), Counter(labels)
    most = max(taken.values())
    assert all(taken[label] >= min(there[label], most - 1) for label in there)


def test_what_int8_means_is_one_recipe_or_the_other() -> None:
    assert recipes_of("int8") == ("s8s8", "u8s8") and recipes_of("fp16") == ("fp16",)
    with pytest.raises(QuantizeError, match="no precision 'int4'"):
        recipes_of("int4")


def skewed() -> Any:
    """Weights that all round down, so that INT8 moves the mean of every feature."""
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(8, 6, 1)
    with torch.no_grad():
        layer.weight.uniform_(0.3, 0.49).add_(torch.randint(1, 60, layer.weight.shape)).div_(127)
        layer.weight[:, 0] = 1.0  # the scale is 1 / 127
    first = torch.nn.Conv2d(1, 8, 3, padding=1)
    body = torch.nn.Sequential(first, torch.nn.ReLU(), layer, torch.nn.Flatten()).eval()
    return from_module(body, ImagePreprocess(8, 8, channels="L"), 0.0, 1 / 255, name="skewed")


def test_corrected_biases_move_the_mean_back() -> None:
    pytest.importorskip("nncf")
    graph = export_onnx(skewed())
    prepared = prepare(graph)
    biases = corrected_biases(prepared, TENSORS[:30])
    assert "Conv" in next(iter(biases))
    plain = engine_features(graph, TENSORS, "onnxruntime", 1).mean()
    ready = calibrate(prepared, TENSORS[:30])
    off, corrected = (
        abs(engine_features(ready.graph(U8S8, (), moved), TENSORS, "onnxruntime", 1).mean() - plain)
        for moved in (None, biases)
    )
    assert corrected < 0.5 * off
    everything = [node for group in layer_groups(prepared) for node in group.nodes]
    kept = engine_features(ready.graph(U8S8, everything, biases), TENSORS, "onnxruntime", 1)
    assert kept.mean() == pytest.approx(plain, rel=1e-5), "a layer in float32 keeps its own bias"


QUIET = """
import logging, sys
from tests.host.quantize.test_graphs import TENSORS, network
from edgetl.export import export_onnx
from edgetl.quantize import prepare
from edgetl.quantize.bias import corrected_biases
before = logging.getLoggerClass()
corrected_biases(prepare(export_onnx(network())), TENSORS[:8])
assert logging.getLoggerClass() is before
import nncf.telemetry.wrapper as wrapper
reports = type(wrapper.telemetry).__name__ == "NNCFTelemetry"
print("reports" if reports else "none", "openvino_telemetry" in sys.modules)
"""


def test_nncf_reports_to_nobody_and_prints_nothing() -> None:
    pytest.importorskip("nncf")
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert done.stdout == "none False\n" and done.stderr == ""
