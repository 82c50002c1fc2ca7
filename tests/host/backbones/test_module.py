"""A user's own torch network as an extractor: copied, frozen, and equal to itself."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from edgetl_runtime.errors import SampleError
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess
from torch import nn

from edgetl.backbones import from_module
from edgetl.errors import BackboneError
from edgetl.export import export_onnx
from edgetl.features import reference_features
from edgetl.parity import compare

DIGITS = ImagePreprocess(28, 28, channels="L")


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(2))


def digits(n=5):
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28, 1), dtype=np.uint8)


def test_features_are_the_networks_own_on_normalised_pixels():
    network = small().eval()
    backbone = from_module(network, DIGITS, 127.5, 1 / 127.5, name="cnn")
    with torch.no_grad():
        pixels = (torch.from_numpy(digits()).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        expected = network(pixels).flatten(1).numpy()
    assert (backbone.name, backbone.dim, expected.shape) == ("cnn", 16, (5, 16))
    assert np.allclose(reference_features(backbone, digits()), expected, atol=1e-6)


def test_a_batch_gives_what_its_samples_give():
    backbone = from_module(small(), DIGITS)
    batch = digits(70)  # more than one chunk
    one_by_one = np.concatenate([reference_features(backbone, sample[None]) for sample in batch])
    assert compare(one_by_one, reference_features(backbone, batch)).max_rel < 1e-6
    assert reference_features(backbone, batch[:0]).shape == (0, 16)


def test_training_the_original_further_changes_no_extractor():
    network = small().train()
    backbone = from_module(network, DIGITS)
    before = reference_features(backbone, digits())
    network(torch.randn(8, 1, 28, 28)).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    assert network.training
    assert np.array_equal(reference_features(backbone, digits()), before)
    assert backbone.module is not None and not any(p.requires_grad for p in backbone.module.parameters())


def test_nothing_global_changes():
    backbone = from_module(small(), DIGITS)
    torch.manual_seed(3)
    state, threads, grad = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    reference_features(backbone, digits())
    export_onnx(backbone)
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_export_works_inside_the_users_own_gradient_mode(mode):
    with mode():
        backbone = from_module(small(), DIGITS)
        assert len(export_onnx(backbone)) > 1000


@pytest.mark.parametrize("batch", [1, 3])
def test_arrays_pass_through_the_same_way(batch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(120, 7), nn.Tanh())
    backbone = from_module(network, ArrayPreprocess((20, 6)), mean=(0, 0, 9.8, 0, 0, 0), scale=0.1, name="imu")
    windows = np.random.default_rng(0).standard_normal((batch, 20, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(export_onnx(backbone, batch), providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [("array", "tensor(float)", [batch, 20, 6])]
    features = session.run(["features"], {"array": windows})[0]
    assert compare(reference_features(backbone, windows), features).max_rel < 1e-6


@pytest.mark.parametrize(
    "batch",
    [digits().astype(np.float32), digits()[..., 0], digits()[:, :27], np.zeros((2, 28, 28, 3), np.uint8)],
    ids=["dtype", "no channel", "height", "channels"],
)
def test_another_tensor_is_a_sample_error(batch):
    with pytest.raises(SampleError, match=r"uint8 \(N, 28, 28, 1\)"):
        reference_features(from_module(small(), DIGITS), batch)


class _Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (nn.Conv2d(3, 4, 3), "does not run"),
        (_Pair(), "must give one tensor"),
        (nn.Flatten(0), "must give one tensor"),
    ],
)
def test_what_is_no_extractor_is_a_backbone_error(network, says):
    with pytest.raises(BackboneError, match=says):
        from_module(network, DIGITS, name="mine")


def test_half_precision_networks_become_float32():
    backbone = from_module(copy.deepcopy(small()).half(), DIGITS)
    assert reference_features(backbone, digits()).dtype == np.float32
