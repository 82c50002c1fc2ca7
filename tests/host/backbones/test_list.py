"""The promise of the list: each of these exports, and onnxruntime gives the features that torch gives."""

from __future__ import annotations

import onnx
import pytest
import torch

from benchmarks.extractors import MAX_REL, TIMM, TORCHVISION, measure

# What TensorRT's ONNX parser does not read (onnx-tensorrt docs/operators.md), and what no extractor needs.
REFUSED = {"Compress", "ConvInteger", "DFT", "Det", "If", "Loop", "MatMulInteger", "MaxUnpool", "Scan", "STFT"}
# Shape arithmetic, which is constant in a graph of static shapes.
FOLDED = {"Constant", "ConstantOfShape", "Identity", "Range", "Shape", "Size"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """On a busy machine more threads only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_list_is_as_long_as_promised():
    assert len(set(TORCHVISION)) >= 25 and len(set(TIMM)) >= 10


@pytest.mark.parametrize("name", [*TORCHVISION, *TIMM])
def test_it_exports_and_the_features_agree(name):
    row, graph = measure(name)
    assert row["parity_max_rel"] <= MAX_REL
    model = onnx.load_from_string(graph)
    assert model.ir_version <= 10 and [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    (image,), (features,) = model.graph.input, model.graph.output
    assert (image.name, image.type.tensor_type.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [1, *row["size"]]
    assert (features.name, features.type.tensor_type.elem_type) == ("features", onnx.TensorProto.FLOAT)
    assert [dim.dim_value for dim in features.type.tensor_type.shape.dim] == [1, row["dim"]]
    assert not {node.op_type for node in model.graph.node} & (REFUSED | FOLDED)
    assert b"location" not in graph and not model.functions
