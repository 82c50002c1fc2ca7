"""Extractors by name: real weights see what is in a picture, random ones never change, errors say what to do."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest
import timm
import timm.data
import torch
from edgetl_runtime.preprocess import ImagePreprocess
from PIL import Image

from edgetl.backbones import extractor
from edgetl.backbones.weights import read_weights
from edgetl.errors import BackboneError, WeightsError
from edgetl.features import reference_features

MOBILENET = "models/mobilenet_v2_torchvision_fp16.safetensors"
SQUEEZENET = "models/squeezenet_dc/squeezenet1_0_torchvision_fp16.pth"
SEEN = [("cat.bmp", "cat"), ("hot_dog.jpg", "hot dog"), ("bird.bmp", "chickadee")]


def picture(data_folder, name):
    return np.asarray(Image.open(data_folder / "models/coral" / name).convert("RGB"))


def labels(data_folder):
    """ImageNet's 1,001, number 0 being the background."""
    lines = (data_folder / "models/coral/imagenet_labels.txt").read_text().splitlines()
    return [line.split(maxsplit=1)[-1] for line in lines]


@pytest.mark.parametrize(("file", "expected"), [*SEEN, ("owl.jpg", "owl"), ("pets.jpg", "hound")])
def test_real_mobilenet_weights_see_what_is_there(data_folder, file, expected):
    backbone = extractor("torchvision/mobilenet_v2", data_folder / MOBILENET, mean=127.5, scale=1 / 127.5)
    assert backbone.dim == 1280
    assert backbone.provenance["unused"] == ["classifier.1.bias", "classifier.1.weight"]  # of 1,001 classes
    assert backbone.provenance["file"] == "mobilenet_v2_torchvision_fp16.safetensors"
    features = reference_features(backbone, backbone.preprocess.apply(picture(data_folder, file)))
    contents, digest = read_weights(data_folder / MOBILENET)
    weight, bias = (contents[f"classifier.1.{part}"].float().numpy() for part in ("weight", "bias"))
    assert expected in labels(data_folder)[np.argmax(features[0] @ weight.T + bias)]
    assert digest == backbone.provenance["sha256"]


@pytest.mark.parametrize(("file", "expected"), SEEN)
def test_real_squeezenet_weights_in_bgr_see_what_is_there(data_folder, file, expected):
    backbone = extractor(
        "torchvision/squeezenet1_0",
        str(data_folder / SQUEEZENET),
        channels="BGR",
        mean=(104, 117, 123),
        scale=1,
        size=227,
        resize=256,
    )
    assert (backbone.dim, backbone.preprocess) == (512, ImagePreprocess(227, 227, 256, "bilinear", "BGR"))
    features = reference_features(backbone, backbone.preprocess.apply(picture(data_folder, file)))
    contents, _ = read_weights(data_folder / SQUEEZENET)
    weight, bias = (contents[f"classifier.1.{part}"].float().numpy() for part in ("weight", "bias"))
    assert expected in labels(data_folder)[1 + np.argmax(features[0] @ weight[:, :, 0, 0].T + bias)]


def test_random_weights_are_always_the_same_and_leave_the_users_generator_alone():
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    for name in ("torchvision/shufflenet_v2_x0_5", "timm/mobilenetv3_small_050"):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = reference_features(extractor(name), batch)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert np.array_equal(reference_features(extractor(name), batch), first)
        assert np.abs(first).max() > 0


def test_defaults_come_from_the_weights_own_transforms():
    backbone = extractor("torchvision/mobilenet_v2")
    assert backbone.preprocess == ImagePreprocess(224, 224, 232, "bilinear", "RGB")
    assert backbone.mean == pytest.approx([255 * 0.485, 255 * 0.456, 255 * 0.406])
    assert backbone.scale == pytest.approx([1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)])


@pytest.mark.parametrize("model", ["resnet10t", "mobilenetv3_small_050", "convnextv2_atto", "test_vit", "xception41"])
def test_a_timm_network_sees_what_timms_own_transform_shows_it(model):
    backbone = extractor(f"timm/{model}")
    network = timm.create_model(model)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
    frame = np.random.default_rng(0).integers(0, 256, (250, 333, 3), dtype=np.uint8)
    expected = transform(Image.fromarray(frame)).permute(1, 2, 0).numpy()
    seen = (backbone.preprocess.apply(frame)[0] - np.array(backbone.mean)) * np.array(backbone.scale)
    assert np.abs(seen - expected).max() <= 1.01 * max(backbone.scale)  # one grey level


def test_every_default_can_be_overridden():
    backbone = extractor(
        "torchvision/mobilenet_v3_small",
        size=(96, 128),
        resize="stretch",
        interpolation="bicubic",
        channels="BGR",
        scale=[1, 2, 3],
    )
    assert backbone.preprocess == ImagePreprocess(96, 128, None, "bicubic", "BGR")
    assert backbone.mean == pytest.approx([255 * 0.406, 255 * 0.456, 255 * 0.485])  # turned round with the channels
    assert backbone.scale == (1.0, 2.0, 3.0)
    # Half the size keeps the share of the frame that the crop sees.
    assert extractor("torchvision/mobilenet_v3_small", size=112).preprocess.resize == 128


def test_timm_takes_grey_networks_and_other_sizes():
    backbone = extractor("timm/mobilenetv3_small_050", channels="L", size=64, mean=0, scale=1 / 255)
    assert backbone.preprocess.input.shape == (1, 64, 64, 1)
    assert reference_features(backbone, np.zeros((3, 64, 64, 1), np.uint8)).shape == (3, backbone.dim)
    assert extractor("timm/vit_tiny_patch16_224", size=96).preprocess.height == 96


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("mobilenet_v2", {}, "torchvision/<model>"),
        ("torchvision/", {}, "torchvision/<model>"),
        ("keras/mobilenet", {}, "timm/<model>"),
        ("torchvision/mobilnet_v2", {}, "did you mean mobilenet_v2"),
        ("torchvision/fcn_resnet50", {}, "no classification network"),
        ("timm/resnet10", {}, "did you mean resnet10t"),
        ("onnx:absent.onnx", {}, r"absent\.onnx"),
        ("torchvision/mobilenet_v2", {"channels": "L"}, "RGB"),
        ("torchvision/mobilenet_v2", {"channels": "CMYK"}, "RGB"),
        ("torchvision/mobilenet_v2", {"mean": (1, 2)}, "mean must be one finite number"),
        ("torchvision/mobilenet_v2", {"scale": float("nan")}, "scale must be one finite number"),
        ("torchvision/mobilenet_v2", {"size": (1, 2, 3)}, "one side or"),
        ("torchvision/mobilenet_v2", {"resize": 100}, "resize"),
        ("torchvision/mobilenet_v2", {"resize": "crop"}, "stretch"),
        ("torchvision/mobilenet_v2", {"interpolation": "magic"}, "interpolation"),
        ("torchvision/mobilenet_v2", {"output": "features"}, "ONNX"),
        ("torchvision/vit_b_32", {"size": 100}, "does not run on an input"),
        ("torchvision/mobilenet_v2", {"weights": "absent.pth"}, r"no weights file absent\.pth"),
    ],
)
def test_a_wrong_request_says_what_is_right(name, options, says):
    with pytest.raises(BackboneError, match=says):
        extractor(name, **options)


def test_the_weights_of_another_network_are_refused(data_folder):
    with pytest.raises(WeightsError, match=r"lacks \d+ of \d+ tensors"):
        extractor("torchvision/resnet18", data_folder / MOBILENET)


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1", "timm/resnet10t"])
def test_without_a_network_the_download_error_names_the_local_way(name, monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise OSError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)  # the hub's client waits between its attempts
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(WeightsError, match=r"Without a network.*weights='path/to/it"):
        extractor(name, "DEFAULT")
