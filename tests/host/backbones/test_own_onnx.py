"""A user's own ONNX: cut at the named tensor, fed like every other extractor, and equal to itself before."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess
from onnx import TensorProto, helper, numpy_helper

from edgetl.backbones import extractor
from edgetl.errors import BackboneError, ExportError
from edgetl.export import export_onnx
from edgetl.features import reference_features
from edgetl.parity import compare


def network(tmp_path, shape, kind=TensorProto.FLOAT, *, nhwc=False, name="net.onnx", input_name="image"):
    """A small convolutional graph with an intermediate feature and a classifier; dynamic dims are strings."""
    generator = np.random.default_rng(0)
    channels = shape[3] if nhwc else shape[1]
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    weights = {
        "kernel": generator.standard_normal((5, channels, 3, 3)),
        "mean": generator.standard_normal((5, 2)),  # our own names, to meet those of the wrapper
    }
    nodes, last = [], input_name
    if nhwc:
        nodes.append(helper.make_node("Transpose", [last], ["turned"], perm=[0, 3, 1, 2]))
        last = "turned"
    nodes += [
        helper.make_node("Conv", [last, "kernel"], ["features"]),
        helper.make_node("Relu", ["features"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["allocation"]),
        helper.make_node("MatMul", ["allocation", "mean"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(input_name, kind, shape)],
        [helper.make_tensor_value_info("logits", kind, None)],
        [numpy_helper.from_array(value.astype(dtype), key) for key, value in weights.items()],
        doc_string="location of nothing",
    )
    path = tmp_path / name
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def exported(backbone, batch):
    graph = export_onnx(backbone)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    name = backbone.preprocess.input.name
    return graph, np.concatenate([session.run(["features"], {name: sample[None]})[0] for sample in batch])


@pytest.mark.parametrize(
    ("shape", "kind", "nhwc", "options", "tensor"),
    [
        (["N", 3, 20, 24], TensorProto.FLOAT, False, {"mean": 127.5, "scale": 1 / 127.5}, (1, 20, 24, 3)),
        ([1, 3, 20, 24], TensorProto.FLOAT, False, {"mean": (1, 2, 3), "channels": "BGR"}, (1, 20, 24, 3)),
        ([1, 20, 24, 3], TensorProto.FLOAT, True, {"scale": (0.1, 0.2, 0.3)}, (1, 20, 24, 3)),
        (["N", 1, "H", "W"], TensorProto.FLOAT, False, {"size": (16, 12)}, (1, 16, 12, 1)),
        (["N", 3, 20, 20], TensorProto.FLOAT16, False, {"mean": 128, "scale": 1 / 128}, (1, 20, 20, 3)),
    ],
    ids=["nchw", "bgr", "nhwc", "dynamic", "half"],
)
@pytest.mark.parametrize("output", ["allocation", "features", None])
def test_an_image_network_is_fed_with_uint8_pixels(tmp_path, shape, kind, nhwc, options, tensor, output):
    path = network(tmp_path, shape, kind, nhwc=nhwc)
    backbone = extractor(f"onnx:{path}", output=output, **options)
    assert isinstance(backbone.preprocess, ImagePreprocess)
    assert backbone.preprocess.input.shape == tensor
    batch = np.random.default_rng(1).integers(0, 256, (3, *tensor[1:]), dtype=np.uint8)
    graph, features = exported(backbone, batch)
    tolerance = 5e-3 if kind == TensorProto.FLOAT16 else 1e-6
    assert compare(reference_features(backbone, batch), features).max_rel <= tolerance
    # The reference is the graph as it was given, by hand:
    model = onnx.load(path)
    wanted = output or "logits"
    if wanted != "logits":
        model.graph.output.append(onnx.ValueInfoProto(name=wanted))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = (batch[:1].astype(np.float32) - np.float32(backbone.mean)) * np.float32(backbone.scale)
    pixels = pixels if nhwc else pixels.transpose(0, 3, 1, 2)
    pixels = pixels.astype(np.float16 if kind == TensorProto.FLOAT16 else np.float32)
    by_hand = session.run([wanted], {"image": pixels})[0].reshape(1, -1)
    assert compare(by_hand, features[:1]).max_rel <= tolerance
    assert b"location" not in graph  # the tensor `allocation` was renamed, the doc string dropped
    operators = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert ("MatMul" in operators) == (output is None)  # what comes after the feature is gone


def test_what_is_no_image_is_an_array(tmp_path, data_folder):
    imu = extractor(f"onnx:{data_folder / 'models/derived_onnx/limu_bert_x_features216.onnx'}", output="features")
    assert (imu.preprocess, imu.dim) == (ArrayPreprocess((20, 6)), 216)
    speech = extractor(f"onnx:{data_folder / 'models/openwakeword/embedding_model.onnx'}", channels="array", scale=0.1)
    assert (speech.preprocess, speech.dim) == (ArrayPreprocess((76, 32, 1)), 96)
    mel = extractor(f"onnx:{data_folder / 'models/openwakeword/melspectrogram.onnx'}", size=12800)
    assert mel.preprocess == ArrayPreprocess((12800,))
    for backbone in (imu, speech, mel):
        batch = np.random.default_rng(0).standard_normal((3, *backbone.preprocess.shape)).astype(np.float32)
        _, features = exported(backbone, batch)
        assert compare(reference_features(backbone, batch), features).max_rel <= 1e-5


def test_a_real_network_cut_at_its_features(data_folder):
    path = data_folder / "models/derived_onnx/mobilenet_v2_1.0_224_fp32.onnx"
    backbone = extractor(f"onnx:{path}", output="features", mean=127.5, scale=1 / 127.5)
    assert (backbone.dim, backbone.name) == (1280, "onnx:mobilenet_v2_1.0_224_fp32.onnx")
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    _, features = exported(backbone, batch)
    assert compare(reference_features(backbone, batch), features).max_rel <= 1e-5
    with pytest.raises(BackboneError, match=r"more than one output.*features, logits"):
        extractor(f"onnx:{path}")


def test_a_graph_that_takes_uint8_itself_is_left_as_it_is(tmp_path):
    entry = helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", 8, 8, 3])
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=[1, 2], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "g", [entry], [helper.make_tensor_value_info("colour", TensorProto.FLOAT, None)])
    path = tmp_path / "bytes.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    backbone = extractor(f"onnx:{path}")
    batch = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    _, features = exported(backbone, batch)
    assert np.allclose(features, batch.mean((1, 2)), rtol=1e-6)
    with pytest.raises(BackboneError, match="normalises by itself"):
        extractor(f"onnx:{path}", mean=1)


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        (["N", 3, 20, 24], {"output": "featuers"}, r"no tensor 'featuers'.*features"),
        (["N", 3, "H", "W"], {}, "size="),
        (["N", 3, 20, 24], {"size": 30}, "not the size asked for"),
        (["N", 3, 20, 24], {"weights": "DEFAULT"}, "its own weights"),
        (["N", 3, 20, 24], {"channels": "L"}, "3 channels"),
        (["N", 3, 2, 2], {}, "does not run"),
    ],
)
def test_a_wrong_request_says_what_is_right(tmp_path, shape, options, says):
    with pytest.raises(BackboneError, match=says):
        extractor(f"onnx:{network(tmp_path, shape)}", **options)


def test_external_data_is_refused(tmp_path):
    path = network(tmp_path, [1, 3, 8, 8])
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    with pytest.raises(ExportError, match=r"another file.*save_as_external_data=False"):
        extractor(f"onnx:{path}")


def test_what_is_no_graph_is_refused(tmp_path):
    whole = network(tmp_path, [1, 3, 8, 8]).read_bytes()
    for data in (b"", b"\xff" * 100, whole[: len(whole) // 2]):
        (tmp_path / "broken.onnx").write_bytes(data)
        with pytest.raises((ExportError, BackboneError)):
            extractor(f"onnx:{tmp_path / 'broken.onnx'}", output="allocation")


def test_operators_outside_the_standard_are_refused_at_export(tmp_path):
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    graph = helper.make_graph([node], "g", [entry], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "foreign.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    with pytest.raises(ExportError, match=r"com\.microsoft"):
        export_onnx(extractor(f"onnx:{path}"))


def test_two_inputs_are_refused(tmp_path):
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "ab"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "g",
        entries,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(ExportError, match="exactly one input"):
        extractor(f"onnx:{tmp_path / 'two.onnx'}")


@pytest.mark.parametrize("kind", [TensorProto.INT32, -1, 2**31 - 1])
def test_an_input_that_is_no_picture_is_refused(tmp_path, kind):
    path = network(tmp_path, [1, 3, 8, 8])
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = kind
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BackboneError, match="takes FLOAT, FLOAT16 or UINT8"):
        extractor(f"onnx:{path}", output="allocation")
