"""What leaves the host is one plain graph that every device takes, or an error."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edgetl_runtime.preprocess import ImagePreprocess
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgetl.backbones import from_module
from edgetl.errors import ExportError
from edgetl.export import export, export_onnx
from edgetl.export import graph as surgery
from edgetl.features import Extractor, reference_features
from edgetl.parity import compare

FRAMES = ImagePreprocess(24, 20)


def batch(n):
    return np.random.default_rng(0).integers(0, 256, (n, 24, 20, 3), dtype=np.uint8)


class Attention(nn.Module):
    """Everything that tempts an exporter: fused attention, dynamic shapes, an attribute called location."""

    def __init__(self):
        super().__init__()
        self.location = nn.Conv2d(3, 8, 4, 4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        x = self.location(x)
        n, d, h, w = x.shape
        x = x.reshape(n, d, h * w).transpose(1, 2)
        place = torch.arange(h * w, device=x.device, dtype=x.dtype)[None, :, None] / (h * w)
        return self.layer(x + place).mean(1)


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    return from_module(Attention(), FRAMES, 127.5, 1 / 127.5, name="attention")


@pytest.mark.parametrize("n", [1, 4])
def test_the_graph_takes_camera_bytes_and_gives_the_features(attention, n):
    graph = export_onnx(attention, n)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (entry,), (result,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.type, entry.shape) == ("image", "tensor(uint8)", [n, 24, 20, 3])
    assert (result.name, result.type, result.shape) == ("features", "tensor(float)", [n, 8])
    features = session.run(None, {"image": batch(n)})[0]
    assert compare(reference_features(attention, batch(n)), features).max_rel < 1e-5


def test_layout_and_normalisation_are_the_first_nodes_and_plain(attention):
    model = onnx.load_from_string(export_onnx(attention))
    assert [node.op_type for node in model.graph.node][:4] == ["Cast", "Sub", "Mul", "Transpose"]


def test_nothing_in_the_file_looks_like_external_data(attention):
    graph = export_onnx(attention)
    assert b"location" not in graph
    model = onnx.load_from_string(graph)
    assert (model.doc_string, len(model.metadata_props), len(model.functions)) == ("", 0, 0)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_shape_arithmetic_is_folded(attention):
    operators = {node.op_type for node in onnx.load_from_string(export_onnx(attention)).graph.node}
    assert not operators & {"Shape", "Range", "Constant", "Identity", "ConstantOfShape"}


def test_the_same_extractor_gives_the_same_bytes(attention):
    assert export_onnx(attention) == export_onnx(attention)


def test_exporting_leaves_the_module_frozen(attention):
    export_onnx(attention)
    assert not any(parameter.requires_grad for parameter in attention.module.parameters())
    assert not attention.module.training


def test_shared_weights_are_stored_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(60, 60)

        def forward(self, x):
            return self.layer(self.layer(x.flatten(2).mean(1)[:, :60]))

    graph = export_onnx(from_module(Twice(), FRAMES))
    assert len(graph) < 1.5 * 60 * 60 * 4 + 4000


def test_unknown_targets_and_batches_are_errors(attention):
    with pytest.raises(ExportError, match="onnx"):
        export(attention, "coreml")
    with pytest.raises(ExportError, match="at least 1"):
        export_onnx(attention, 0)
    with pytest.raises(ExportError, match="neither"):
        export_onnx(Extractor("empty", FRAMES, (0.0,), (1.0,), 1))


def test_what_torch_cannot_export_is_an_export_error():
    class Complex(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x[:, 0, :20, :20]).real

    with pytest.raises(ExportError, match="torch cannot export"):
        export_onnx(from_module(Complex(), FRAMES, name="eigen"))


def model_of(nodes, initializers=(), *, opset=17, ir=8, dims=(1, 4)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, dims)],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def test_folding_changes_no_value():
    weights = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "w")
    nodes = [
        helper.make_node("Identity", ["w"], ["same"]),
        helper.make_node("MatMul", ["x", "same"], ["y"]),
        helper.make_node("Shape", ["y"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["size"], to=TensorProto.FLOAT),
        helper.make_node("ReduceProd", ["size"], ["count"], keepdims=0),
        helper.make_node("Div", ["y", "count"], ["features"]),
        helper.make_node("Sin", ["y"], ["dead"]),
    ]
    model = model_of(nodes, [weights], dims=(1, 2))
    x = np.arange(4, dtype=np.float32)[None]

    def run(m):
        return onnxruntime.InferenceSession(m.SerializeToString()).run(["features"], {"x": x})[0]

    expected = run(model)
    surgery.fold(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Div"]
    assert np.array_equal(run(model), expected)


def test_an_output_that_depends_on_nothing_is_an_error():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["features"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(ExportError, match="does not depend on the input"):
        surgery.fold(model_of(nodes))


def test_control_flow_is_refused():
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["negative"])],
        "b",
        [],
        [helper.make_tensor_value_info("negative", TensorProto.FLOAT, [1, 4])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["features"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(ExportError, match="control flow"):
        surgery.finish(model_of(nodes))


def test_newer_opsets_and_formats_are_brought_down_to_what_a_device_reads():
    model = model_of([helper.make_node("Relu", ["x"], ["features"])], opset=23, ir=11)
    loaded = onnx.load_from_string(surgery.finish(model))
    assert loaded.ir_version <= surgery.MAX_IR_VERSION
    assert loaded.opset_import[0].version <= surgery.MAX_OPSET


def test_names_with_the_forbidden_word_are_replaced_and_an_attribute_with_it_is_refused():
    nodes = [
        helper.make_node("Relu", ["x"], ["location_0"], name="location"),
        helper.make_node("Neg", ["location_0"], ["features"]),
    ]
    data = surgery.finish(model_of(nodes))
    assert b"location" not in data
    session = onnxruntime.InferenceSession(data)
    assert np.array_equal(session.run(None, {"x": np.ones((1, 4), np.float32)})[0], -np.ones((1, 4)))
    bytes_of_it = numpy_helper.from_array(np.frombuffer(b"location" * 2, np.float32), "w")
    with pytest.raises(ExportError, match="location"):
        surgery.finish(model_of([helper.make_node("Add", ["x", "w"], ["features"])], [bytes_of_it]))


def test_einsum_equations_are_in_the_letters_that_tensorrt_reads():
    nodes = [helper.make_node("Einsum", ["x", "w"], ["features"], equation="B I,iI->iB")]
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    data = surgery.finish(model_of(nodes, [weights], dims=(3, 1)))
    assert onnx.load_from_string(data).graph.node[0].attribute[0].s == b"a b,cb->ca"
    x = np.arange(4, dtype=np.float32)[None]
    result = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    assert np.array_equal(result, np.arange(12, dtype=np.float32).reshape(3, 4) @ x.T)


def test_a_graph_that_is_not_valid_is_refused():
    with pytest.raises(ExportError, match="not valid"):
        surgery.finish(model_of([helper.make_node("Relu", ["nowhere"], ["features"])]))
