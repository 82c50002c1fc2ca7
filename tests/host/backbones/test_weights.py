"""Every key of a weights file is accounted for, and nothing in it runs."""

from __future__ import annotations

import hashlib
import logging
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgetl.backbones.weights import fit_weights, read_weights
from edgetl.errors import WeightsError


def network():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def trained():
    torch.manual_seed(7)
    state = {key: value.clone() for key, value in network().state_dict().items()}
    for value in state.values():
        if value.is_floating_point():
            value.uniform_(0.5, 2.0)
    state["1.num_batches_tracked"] += 9
    return state


NEEDED = sorted(key for key, value in network().state_dict().items() if value.is_floating_point())


@pytest.mark.parametrize(
    ("wrapped", "inside", "prefix"),
    [
        (lambda s: s, "", ""),
        (lambda s: {"epoch": 3, "state_dict": s, "best": 0.9}, "state_dict", ""),
        (lambda s: {"module." + key: value for key, value in s.items()}, "", "module."),
        (lambda s: {"model": {"net.body." + key: value for key, value in s.items()}}, "model", "net.body."),
        (
            lambda s: {"optimizer": {"state": {0: torch.ones(3)}}, "ema": {"state_dict": s}, "lr": torch.ones(1)},
            "ema.state_dict",
            "",
        ),
    ],
    ids=["plain", "state_dict", "module.", "two prefixes", "beside an optimizer"],
)
def test_wrappers_and_prefixes_are_seen_through(tmp_path, wrapped, inside, prefix):
    state = trained()
    path = tmp_path / "weights.pth"
    torch.save(wrapped(state), path)
    contents, digest = read_weights(path)
    target = network()
    fit = fit_weights(target, NEEDED, contents, "weights.pth")
    assert (fit.inside, fit.prefix, fit.unused) == (inside, prefix, ())
    assert all(torch.equal(target.state_dict()[key], state[key]) for key in state)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in trained().items()}
    save_file(state, tmp_path / "half.safetensors")
    target = network()
    fit_weights(target, NEEDED, read_weights(tmp_path / "half.safetensors")[0], "half")
    for key in NEEDED:
        assert target.state_dict()[key].dtype == torch.float32
        assert torch.equal(target.state_dict()[key], state[key].float())


def test_left_over_keys_are_recorded_and_logged(caplog):
    caplog.set_level(logging.INFO, logger="edgetl")
    state = trained() | {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
    fit = fit_weights(network(), NEEDED, state, "file")
    assert fit.unused == ("fc.bias", "fc.weight")
    assert "fc.weight" in caplog.text


def test_missing_keys_are_counted_and_named_and_change_nothing():
    state, target = trained(), network()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    del state["0.weight"], state["1.running_var"]
    with pytest.raises(WeightsError, match=r"lacks 2 of 6 .*0\.weight, 1\.running_var"):
        fit_weights(target, NEEDED, state, "file")
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_wrong_shapes_are_counted_and_named_with_both_shapes():
    state = trained() | {"0.weight": torch.ones(3, 5)}
    with pytest.raises(WeightsError, match=r"1 of 6 tensors .*0\.weight \(3, 5\) instead of \(3, 4\)"):
        fit_weights(network(), NEEDED, state, "file")


def test_nan_weights_are_refused():
    state = trained()
    state["0.bias"][0] = float("nan")
    with pytest.raises(WeightsError, match=r"NaN.*0\.bias"):
        fit_weights(network(), NEEDED, state, "file")


def test_the_weights_of_another_network_are_an_error_that_shows_both():
    with pytest.raises(WeightsError, match=r"lacks 6 of 6 .*It holds conv\.weight"):
        fit_weights(network(), NEEDED, {"conv.weight": torch.ones(1)}, "file")


def test_files_that_are_no_weights_are_errors(tmp_path):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 truncated")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    (tmp_path / "notes.txt").write_text("weights")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("cut.pth", "cut.safetensors", "notes.txt", "list.pt", "absent.pth"):
        with pytest.raises(WeightsError, match=name.split(".")[0]):
            read_weights(tmp_path / name)


class _Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_pickle_that_runs_code_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    torch.save({"weight": _Hostile(str(marker))}, tmp_path / "hostile.pth")
    with pytest.raises(WeightsError, match="tensors only"):
        read_weights(tmp_path / "hostile.pth")
    assert not marker.exists()
