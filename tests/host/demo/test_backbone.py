from __future__ import annotations

import numpy as np
import pytest

from edgetl.demo import backbone
from edgetl.demo.domains import target_of

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def network(few):
    return backbone.trained(backbone.tensors(few.source_frames), few.source_labels, 0, lambda done, total: None)


def _weights(network):
    return [value.clone() for value in network.state_dict().values()]


def test_training_is_repeated_bit_for_bit_and_follows_its_seed(few):
    pixels, labels = backbone.tensors(few.source_frames[:128]), few.source_labels[:128]
    heard = []
    first = backbone.trained(pixels, labels, 0, lambda done, total: None)
    again = backbone.trained(pixels, labels, 0, lambda done, total: heard.append((done, total)))
    assert all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(again), strict=True))
    assert heard[-1][0] == heard[-1][1] == len(heard)
    other = backbone.trained(pixels, labels, 1, lambda done, total: None)
    assert not all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(other), strict=True))


def test_training_leaves_the_random_state_of_others_alone(few):
    pixels = backbone.tensors(few.source_frames[:64])
    labels = few.source_labels[:64]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    backbone.trained(pixels, labels, 0, lambda done, total: None)
    assert torch.equal(torch.rand(3), expected)


def test_it_learns_the_source_and_stays_small(few, network):
    assert backbone.accuracy(network, backbone.tensors(few.source_frames), few.source_labels) > 0.9
    assert sum(value.numel() for value in network.parameters()) < 200_000
    assert not network.training


def test_fine_tuning_helps_on_the_target_and_does_not_touch_the_network(few, network):
    target = target_of(few, 0)
    before = _weights(network)
    pool, test = backbone.tensors(target.pool_frames), backbone.tensors(target.test_frames)
    ten = target.shots(10)
    tuned = backbone.finetuned(network, pool[ten], target.pool_labels[ten], 0)
    assert all(torch.equal(a, b) for a, b in zip(before, _weights(network), strict=True))
    assert backbone.accuracy(tuned, test, target.test_labels) > backbone.accuracy(network, test, target.test_labels)


def test_frames_go_through_the_preprocessing_of_the_bundle(few):
    from edgetl.demo.domains import PREPROCESS

    made = backbone.tensors(few.target_frames[:5])
    assert made.shape == (5, 28, 28, 1) and made.dtype == np.uint8
    np.testing.assert_array_equal(made[3], PREPROCESS.apply(few.target_frames[3])[0])
