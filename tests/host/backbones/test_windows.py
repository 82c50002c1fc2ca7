"""Networks for windows of a time series: their front ends are what the formulas say, and every device takes them."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from edgetl_runtime.engines import open_engine
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.windows import WindowSpec

import edgetl
from edgetl.backbones import from_module
from edgetl.backbones.audio import LogMel, log_mel_layer, mel_bands
from edgetl.backbones.series import triads_of
from edgetl.backbones.windows import NETWORKS, with_window
from edgetl.errors import BackboneError, DatasetError
from edgetl.export import export_onnx
from edgetl.export.lint import lint
from edgetl.extraction import run_engine
from edgetl.features import reference_features
from edgetl.parity import compare

MOTION = WindowSpec(50, 25, 50.0, ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s^2",) * 3 + ("rad/s",) * 3)
SOUND = WindowSpec(4000, 2000, 8000.0, ("audio",), ("FS",))


def windows(spec, count=40, seed=0):
    generator = np.random.default_rng(seed)
    data = generator.normal(size=(count, spec.length, len(spec.channels))).astype(np.float32)
    data[count // 2 :] *= 3.0
    return edgetl.dataset(data, ["calm"] * (count // 2) + ["wild"] * (count - count // 2), window=spec)


def named(name):
    return windows(SOUND if "mel" in name else MOTION)


def log_mel_by_formula(signal, front):
    """From the definition: Hann frames, |DFT|^2 relative to a full-scale sine, HTK mel triangles, log with a floor."""
    hann = np.sin(np.pi * np.arange(front.frame) / front.frame) ** 2
    frames = np.lib.stride_tricks.sliding_window_view(signal.astype(np.float64), front.frame)[:: front.hop]
    power = np.abs(np.fft.rfft(frames * hann, front.bins)) ** 2 * (2.0 / hann.sum()) ** 2

    def hertz(mel):
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)

    def mel(hz):
        return 2595.0 * np.log10(1.0 + hz / 700.0)

    edges = hertz(np.linspace(mel(front.low_hz), mel(front.high_hz), front.bands + 2))
    bank = np.zeros((front.bands, front.bins // 2 + 1))
    for band, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for place in range(front.bins // 2 + 1):
            hz = place * front.rate_hz / front.bins
            if low < hz <= middle:
                bank[band, place] = (hz - low) / (middle - low)
            elif middle < hz < high:
                bank[band, place] = (high - hz) / (high - middle)
    return np.log(power @ bank.T + front.floor).T


SIGNALS = {
    "noise": lambda t: 0.1 * np.random.default_rng(0).normal(size=len(t)),
    "a full-scale tone": lambda t: np.sin(2 * np.pi * 440.0 * t),
    "a quiet tone": lambda t: 1e-3 * np.sin(2 * np.pi * 1000.0 * t),
    "a chirp": lambda t: np.sin(2 * np.pi * (100.0 * t + 1500.0 * t * t)),
    "clicks": lambda t: (np.arange(len(t)) % 977 == 0).astype(float),
    "silence": np.zeros_like,
}


@pytest.mark.parametrize("rate", [8000, 16000])
def test_log_mel_in_the_graph_is_the_formula(rate):
    spec = WindowSpec(rate // 2, rate // 4, float(rate), ("audio",), ("FS",))
    front = LogMel.of(float(rate))
    backbone = from_module(
        torch.nn.Sequential(log_mel_layer(front), torch.nn.Flatten()),
        ArrayPreprocess((spec.length, 1), spec),
    )
    engine = open_engine("onnxruntime", export_onnx(backbone))
    time = np.arange(spec.length) / rate
    for name, make in SIGNALS.items():
        signal = make(time).astype(np.float32)
        expected = log_mel_by_formula(signal, front)
        found = run_engine(engine, backbone.preprocess.apply(signal[:, None])).reshape(expected.shape)
        assert expected.shape == (40, front.frames(spec.length)), name
        assert np.abs(found - expected).max() < 1e-4, name
    engine.close()


def test_a_full_scale_sine_has_power_one_and_every_band_hears_something():
    front = LogMel.of(8000.0)
    assert (mel_bands(front).sum(axis=1) > 0).all()
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(800) / 8000.0)  # on a bin, and 25 whole periods a frame
    with torch.no_grad():
        bands = log_mel_layer(front)(torch.tensor(tone, dtype=torch.float32)[None, :, None])
    assert -0.7 < float(bands.max()) < 0.7


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_exports_to_what_devices_take(name):
    data = named(name)
    backbone = edgetl.extractor(f"edgetl/{name}", data=data)
    graph = export_onnx(backbone)
    model = onnx.load_from_string(graph)
    assert lint(model) == () and [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert not {node.op_type for node in model.graph.node} & {"DFT", "STFT", "BatchNormalization", "Shape", "If"}
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, *backbone.preprocess.shape]
    assert backbone.preprocess.window == data.window and 64 <= backbone.dim <= 256
    assert backbone.module is not None and sum(p.numel() for p in backbone.module.parameters()) < 100_000
    tensors = np.concatenate([backbone.preprocess.apply(sample) for sample, _ in data.held_out])
    engine = open_engine("onnxruntime", graph)
    found = np.stack([run_engine(engine, tensor[None]) for tensor in tensors])
    engine.close()
    assert compare(reference_features(backbone, tensors), found).max_rel < 1e-4


@pytest.mark.parametrize("name", ["conv1d-s", "logmel-s", pytest.param("logmel2d-s", marks=pytest.mark.slow)])
def test_tensorrt_compiles_it(name):
    pytest.importorskip("tensorrt_rtx")
    from edgetl.export.tensorrt import check_ahead_of_time

    assert check_ahead_of_time(export_onnx(edgetl.extractor(f"edgetl/{name}", data=named(name)))).plan_bytes > 0


@pytest.mark.parametrize("spec", [MOTION, SOUND], ids=["conv1d-s", "logmel-s"])
def test_weights_keep_what_channels_are_standardised_by(spec, tmp_path):
    from safetensors.torch import save_file

    name = "edgetl/conv1d-s" if spec is MOTION else "edgetl/logmel-s"
    first = edgetl.extractor(name, data=windows(spec))
    save_file(first.module.state_dict(), tmp_path / "w.safetensors")
    again = edgetl.extractor(name, weights=tmp_path / "w.safetensors", window=spec)
    samples = np.stack([sample for sample, _ in windows(spec, seed=1)])
    assert np.array_equal(reference_features(first, samples), reference_features(again, samples))
    plain = edgetl.extractor(name, window=spec)
    assert compare(reference_features(first, samples), reference_features(plain, samples)).max_rel > 1e-2


def test_channels_are_standardised_by_the_training_part_alone():
    data = np.random.default_rng(0).normal(size=(40, 50, 6)).astype(np.float32)
    groups = [f"p{row // 4}" for row in range(40)]
    plain = edgetl.dataset(data, ["a", "b"] * 20, window=MOTION, groups=groups)
    data[list(plain.held_out.indices)] += 100.0
    shifted = edgetl.dataset(data, ["a", "b"] * 20, window=MOTION, groups=groups)
    weights = [edgetl.extractor("edgetl/conv1d-s", data=one).module.state_dict() for one in (plain, shifted)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    rows = data[list(plain.training.indices)].reshape(-1, 6)
    assert np.allclose(weights[0]["filters.0.mean"], rows.mean(axis=0), atol=1e-5)


def test_turning_is_a_rotation_in_training_and_nothing_afterwards():
    backbone = edgetl.extractor("edgetl/conv1d-s", data=windows(MOTION), turn=180)
    layer = backbone.module.filters[0]
    raw = torch.randn(64, 50, 6, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        turned = layer.train()(raw).transpose(1, 2) / layer.scale + layer.mean
        still = layer.eval()(raw).transpose(1, 2) / layer.scale + layer.mean
    assert torch.allclose(still, raw, atol=1e-5) and not torch.allclose(turned, raw, atol=0.1)
    for start in (0, 3):
        before, after = raw[:, :, start : start + 3], turned[:, :, start : start + 3]
        assert torch.allclose(before @ before.transpose(1, 2), after @ after.transpose(1, 2), atol=1e-3)
    # One body: both sensors turn alike, and no mirror among the rotations.
    solved = torch.linalg.lstsq(raw[:, :, :3], turned[:, :, :3]).solution
    other = torch.linalg.lstsq(raw[:, :, 3:], turned[:, :, 3:]).solution
    assert torch.allclose(solved, other, atol=1e-3)
    assert torch.allclose(torch.linalg.det(solved), torch.ones(64), atol=1e-3)


def test_the_axes_of_a_sensor_are_found_by_their_names():
    assert triads_of(MOTION.channels, MOTION.units) == ((0, 1, 2), (3, 4, 5))
    assert triads_of(("acc.X", "t", "acc.Z", "acc.Y"), ()) == ((0, 3, 2),)
    assert triads_of(("ax", "ay", "bz"), ()) == () and triads_of(("ax", "ay", "az"), ("g", "g", "m/s^2")) == ()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("conv1d-xl", {}, "did you mean"),
        ("conv1d-s", {}, "must know what windows"),
        ("conv1d-s", {"window": MOTION, "size": 224}, "leave out size"),
        ("conv1d-s", {"window": MOTION, "weights": "DEFAULT"}, "nobody pretrained"),
        ("conv1d-s", {"window": WindowSpec(4, 2, 50.0, ("x",))}, "8 steps at least"),
        ("conv1d-s", {"window": WindowSpec(50, 25, 50.0)}, r"windows \(50, channels\)"),
        ("conv1d-s", {"window": WindowSpec(20000, 100, 1e4, ("x",))}, "1..16384"),
        ("conv1d-s", {"window": WindowSpec(50, 25, 50.0, ("x",)), "turn": 90}, "three axes"),
        ("conv1d-s", {"window": MOTION, "turn": 200}, "0 to 180"),
        ("logmel-s", {"window": MOTION}, "one channel of audio"),
        ("logmel-s", {"window": WindowSpec(1000, 500, 8000.0, ("audio",))}, "32 frames or more"),
    ],
)
def test_what_a_network_cannot_take_is_refused(name, options, said):
    with pytest.raises(BackboneError, match=said):
        edgetl.extractor(f"edgetl/{name}", **options)


def test_other_windows_than_the_networks_are_refused_when_a_bundle_is_built(tmp_path):
    backbone = edgetl.extractor("edgetl/conv1d-s", data=windows(MOTION))
    other = windows(dataclasses.replace(MOTION, rate_hz=100.0))
    with pytest.raises(DatasetError, match=r"rate_hz 100\.0, not 50\.0"):
        edgetl.build(backbone, other, out=tmp_path / "x.edgetl")
    grams = windows(dataclasses.replace(MOTION, units=("g",) * 3 + ("rad/s",) * 3))
    with pytest.raises(DatasetError, match="units"):
        edgetl.build(backbone, grams, out=tmp_path / "x.edgetl")
    with pytest.raises(BackboneError, match="not that of"):
        edgetl.extractor("edgetl/conv1d-s", data=windows(MOTION), window=SOUND)
    plain = from_module(torch.nn.Flatten(), ArrayPreprocess((50, 6)))
    with pytest.raises(DatasetError, match="does not say how a device cuts them"):
        edgetl.build(plain, windows(MOTION), out=tmp_path / "x.edgetl")
    told = with_window(plain, MOTION)
    assert edgetl.build(told, windows(MOTION), out=tmp_path / "x.edgetl").held_out_accuracy is not None
