"""From a network and samples to a bundle that a device without torch opens, and that decides as the host did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
import pytest
import torch
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember
from edgetl_runtime.errors import (
    BundleFormatError,
    BundleSignatureError,
    BundleUnsignedError,
    SourceError,
)
from edgetl_runtime.heads import HEADS, fit_head
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess
from edgetl_runtime.statistics import Statistics
from PIL import Image

import edgetl
from edgetl.backbones import from_module
from edgetl.errors import DatasetError, ParityError, ProfileError
from edgetl.reporting.build_page import build_page
from tests.runtime import golden

FRAMES, LABELS = golden.frames(), golden.labels()


def image_extractor() -> edgetl.Extractor:
    torch.manual_seed(3)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()
    )
    return from_module(network, ImagePreprocess(8, 8, channels="L"), 0.0, 1 / 255, name="tiny/conv")


def array_extractor() -> edgetl.Extractor:
    torch.manual_seed(4)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 12), torch.nn.ReLU())
    return from_module(network, ArrayPreprocess((16, 2)), name="tiny/imu")


def windows(count: int = 80) -> tuple[list[Any], list[str]]:
    """Windows (16, 2) of two movements, one faster than the other, as an accelerometer would see them."""
    random = np.random.default_rng(0)
    time = np.linspace(0, 1, 16)
    labels = ["slow" if i % 2 else "fast" for i in range(count)]
    turns = {"slow": 2, "fast": 4}
    waves = [np.stack([np.sin(2 * np.pi * turns[label] * (time + random.random()))] * 2, 1) for label in labels]
    return [(wave + 0.1 * random.normal(size=(16, 2))).astype(np.float32) for wave in waves], labels


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> edgetl.BuildResult:
    out = tmp_path_factory.mktemp("built") / "digits.edgetl"
    return edgetl.build(image_extractor(), edgetl.dataset(FRAMES, LABELS), out=out)


def opened(result: edgetl.BuildResult, state: Path, **options: Any) -> rt.Session:
    options.setdefault("policy", "immediate")
    return rt.open(result.path, state, allow_unsigned=True, threads=1, **options)


def test_the_held_out_accuracy_is_what_the_device_gets_on_those_samples(
    built: edgetl.BuildResult, tmp_path: Path
) -> None:
    held_out = list(edgetl.dataset(FRAMES, LABELS).held_out)
    with opened(built, tmp_path) as session:
        right = [session.predict(frame).label == label for frame, label in held_out]
    assert built.held_out_samples == len(held_out) > 30
    assert built.held_out_accuracy == sum(right) / len(right) > 0.5
    assert built.confusion.sum() == len(held_out)
    assert np.trace(built.confusion) == sum(right)


def test_the_result_says_what_lies_in_the_file(built: edgetl.BuildResult) -> None:
    bundle = rt.read_bundle(built.path)
    variant = bundle.manifest.variants[0]
    assert (built.bundle_id, built.bundle_bytes) == (bundle.id, built.path.stat().st_size)
    assert built.classes == bundle.manifest.classes == tuple(sorted(set(LABELS)))
    assert (built.dim, built.feature_space) == (variant.dim, variant.feature_space)
    assert built.member_bytes == {name: len(data) for name, data in bundle.members.items()}
    assert built.training_samples + built.held_out_samples == len(FRAMES)
    assert built.parity.max_rel < 1e-4 and built.decisions_agreed == 1.0
    assert not built.signed and built.skipped == {}
    assert bundle.manifest.name == "digits"
    assert json.dumps(bundle.manifest.provenance)


def test_the_head_is_the_one_that_the_statistics_in_the_bundle_give(built: edgetl.BuildResult) -> None:
    bundle = rt.read_bundle(built.path)
    variant = bundle.manifest.variants[0]
    member = HeadMember.unpack(bundle.members[variant.head], variant.head, variant.feature_space, variant.dim)
    assert member.source.count == built.training_samples
    empty = Statistics(variant.dim, shift=member.source.shift, feature_space=variant.feature_space)
    again = fit_head(member.head, empty, prior=member.source, **member.options)
    rows = np.random.default_rng(0).normal(size=(50, variant.dim)).astype(np.float32)
    assert np.allclose(again.decision(rows), member.factory.decision(rows), rtol=1e-9, atol=1e-9)
    # Every option is said: a later runtime with other defaults must decide no differently.
    assert {"n0", "shrinkage", "priors"} <= set(member.options)


def test_golden_and_guard_samples_cover_the_classes(built: edgetl.BuildResult) -> None:
    bundle = rt.read_bundle(built.path)
    dims = {bundle.manifest.variants[0].name: built.dim}
    golden_samples = GoldenSamples.unpack(bundle.members["golden.safetensors"], "golden", dims, len(built.classes))
    assert len(set(golden_samples.decisions.tolist())) == len(golden_samples.samples) == 8
    guard = GuardSet.unpack(bundle.members["guard.safetensors"], "guard", dims, len(built.classes))
    assert len(guard.labels) == built.held_out_samples


def test_building_again_gives_the_same_bytes(built: edgetl.BuildResult, tmp_path: Path) -> None:
    again = edgetl.build(image_extractor(), edgetl.dataset(FRAMES, LABELS), out=tmp_path / "digits.edgetl")
    assert again.path.read_bytes() == built.path.read_bytes()


WITHOUT_TORCH = """
import json, sys
for name in ("torch", "torchvision", "onnx", "edgetl"):
    sys.modules[name] = None
import numpy as np, edgetl_runtime as rt
frames = np.load(sys.argv[3])
with rt.open(sys.argv[1], sys.argv[2], allow_unsigned=True) as session:
    answers = [prediction.label for prediction in session.predict_many(frames)]
    session.learn(frames[0], "new")
    print(json.dumps({"answers": answers, "new": session.predict(frames[0]).label,
                      "torch": sorted(n for n in sys.modules if n.startswith("torch") and sys.modules[n])}))
"""


def test_a_process_that_cannot_import_torch_opens_it_and_answers_the_same(
    built: edgetl.BuildResult, tmp_path: Path
) -> None:
    np.save(tmp_path / "frames.npy", FRAMES[:50])
    command = [sys.executable, "-c", WITHOUT_TORCH, built.path, tmp_path / "device", tmp_path / "frames.npy"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
    with opened(built, tmp_path / "here") as session:
        assert found["answers"] == [prediction.label for prediction in session.predict_many(FRAMES[:50])]
    assert found["new"] == "new" and found["torch"] == []


def test_windows_of_a_sensor_go_the_same_way_and_bad_ones_are_counted(tmp_path: Path) -> None:
    samples, labels = windows()
    samples[3] = np.full((16, 2), np.nan, np.float32)
    samples[10] = np.zeros((15, 2), np.float32)
    samples[11] = np.full((16, 2), np.inf, np.float32)
    result = edgetl.build(array_extractor(), edgetl.dataset(samples, labels), out=tmp_path / "imu.edgetl")
    assert sum(result.skipped.values()) == 3
    assert result.training_samples + result.held_out_samples == 77
    assert result.held_out_accuracy is not None and result.held_out_accuracy > 0.8
    with opened(result, tmp_path / "state") as session:
        assert session.predict(samples[0]).label == labels[0]
        session.learn(samples[0], "third")
        with pytest.raises(rt.EdgetlError, match="NaN"):
            session.learn(samples[3], "third")


def test_large_and_odd_samples_can_be_golden(tmp_path: Path) -> None:
    """A golden picture is scaled down; a golden window never, whatever its dtype and size."""
    frames = np.repeat(np.repeat(FRAMES[:30], 50, 1), 50, 2)[..., None]
    result = edgetl.build(image_extractor(), edgetl.dataset(list(frames), LABELS[:30]), out=tmp_path / "x.edgetl")
    opened(result, tmp_path / "x").close()
    network = torch.nn.Sequential(torch.nn.Linear(400, 5), torch.nn.ReLU())
    extractor = from_module(network, ArrayPreprocess((400,)), scale=1 / 255)
    spectra = np.random.default_rng(0).integers(0, 256, (20, 400), np.uint8)
    data = edgetl.dataset(spectra, [f"{i % 2}" for i in range(20)])
    result = edgetl.build(extractor, data, out=tmp_path / "y.edgetl")
    opened(result, tmp_path / "y").close()


def test_labels_are_spelt_as_a_device_spells_them(tmp_path: Path) -> None:
    """Folders from another system may hold the same name in other code points."""
    names = ["cafe\u0301 ", "b"]
    data = edgetl.dataset(FRAMES[:40], [names[i % 2] for i in range(40)])
    result = edgetl.build(image_extractor(), data, out=tmp_path / "x.edgetl")
    assert result.classes == ("b", "caf\u00e9")
    assert result.confusion.sum() == result.held_out_samples
    with opened(result, tmp_path / "state") as session:
        session.learn(FRAMES[0], "caf\u00e9")
        assert set(session.predict(FRAMES[0]).probabilities) == {"b", "caf\u00e9"}


def test_integer_labels_become_text(tmp_path: Path) -> None:
    data = edgetl.dataset(FRAMES[:60], [int(label) for label in LABELS[:60]])
    result = edgetl.build(image_extractor(), data, out=tmp_path / "x.edgetl")
    assert result.classes == tuple(sorted(set(LABELS[:60])))


def test_what_cannot_be_built_is_refused_early_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "public.key").write_bytes(b"rubbish")
    (tmp_path / "folder").mkdir()
    extractor, data = image_extractor(), edgetl.dataset(FRAMES[:40], LABELS[:40])
    bad = FRAMES[:40] / 255.0
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (SourceError, "no folder", {"out": tmp_path / "none" / "x.edgetl"}),
        (SourceError, "is a folder", {"out": tmp_path / "folder"}),
        (SourceError, "keygen", {"key": tmp_path / "none.key"}),
        (BundleSignatureError, "public.key", {"key": tmp_path / "public.key"}),
        (BundleFormatError, "name", {"name": "../x"}),
        (BundleFormatError, "sequence", {"sequence": -1}),
        (ValueError, "magic", {"head": "magic"}),
        (ValueError, "magic", {"head_options": {"magic": 1}}),
        (DatasetError, "0 class", {"dataset": edgetl.dataset(list(bad), LABELS[:40])}),
    ]
    exported: list[str] = []
    for error, words, change in cases:
        exported.clear()
        arguments = {"extractor": extractor, "dataset": data, "out": tmp_path / "x.edgetl", **change}
        with pytest.raises(error, match=words):
            edgetl.build(**arguments, progress=lambda step: exported.append(step.stage))
        assert exported == [] or error is DatasetError or words == "magic", words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "public.key"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_one_class_that_is_left_after_the_bad_samples_is_said(tmp_path: Path) -> None:
    samples, labels = windows(20)
    for index, label in enumerate(labels):
        if label == "slow":
            samples[index] = np.full((16, 2), np.nan, np.float32)
    with pytest.raises(DatasetError, match="1 class"):
        edgetl.build(array_extractor(), edgetl.dataset(samples, labels), out=tmp_path / "x.edgetl")


def test_a_network_that_gives_nan_is_refused(tmp_path: Path) -> None:
    class Root(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x.flatten(1))

    samples, labels = windows(20)
    with pytest.raises(ParityError, match="NaN"):
        edgetl.build(
            from_module(Root(), ArrayPreprocess((16, 2))), edgetl.dataset(samples, labels), out=tmp_path / "x.edgetl"
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("slda", {"priors": "counts", "n0": 2.0}),
        ("ncm", {}),
        ("ridge", {}),
        ("gaussian_nb", {}),
        ("ridge_rp", {"width": 40}),
        ("softmax", {"tolerance": 1e-3}),
        ("mlp", {"width": 8, "steps": 40}),
        ("knn", {"reservoir_bytes": 4096}),
    ],
)
def test_every_head_that_a_bundle_may_carry_learns_on_the_device(
    head: str, options: dict[str, Any], tmp_path: Path
) -> None:
    data = edgetl.dataset(FRAMES[:120], LABELS[:120])
    result = edgetl.build(image_extractor(), data, out=tmp_path / "x.edgetl", head=head, head_options=options)
    with opened(result, tmp_path / "state") as session:
        factory = session.predict(FRAMES[0])
        session.learn_many(FRAMES[120:150], LABELS[120:150])
        session.learn(FRAMES[0], "new")
        learnt = session.predict(FRAMES[0])
        assert session.status()["head"] == head
        assert (factory.generation, learnt.generation) == (0, 2)
        assert "new" in learnt.probabilities and np.isfinite([factory.outlier, learnt.outlier]).all()
        assert abs(sum(learnt.probabilities.values()) - 1) < 1e-9
    carried = rt.read_bundle(result.path).manifest
    kind = HEADS[head]
    assert carried.carries == (("source-features",) if not kind.exact else ("projected-statistics",) * kind.projected)
    # An older runtime reads whatever it can learn with.
    assert carried.format == ((1, 1) if carried.carries else (1, 0))
    assert (result.source_features > 0) == ("source-features" in carried.carries)
    told = "features of" in build_page(result)
    assert told == (result.source_features > 0)


INK = np.array([frame.mean() / 255 for frame in FRAMES])
SIDE = np.array([(frame[:, 4:].astype(float) - frame[:, :4]).mean() / 255 for frame in FRAMES])


@pytest.mark.parametrize("head", [None, "ridge_rp"])
def test_numbers_are_built_measured_and_learnt_on_the_device(head: str | None, tmp_path: Path) -> None:
    data = edgetl.dataset(FRAMES[:150], targets={"ink": INK[:150], "side": SIDE[:150]})
    result = edgetl.build(image_extractor(), data, out=tmp_path / "x.edgetl", head=head)
    manifest = rt.read_bundle(result.path).manifest
    assert manifest.format == (1, 1) and [output.name for output in manifest.outputs] == ["ink", "side"]
    assert (result.classes, result.training_samples, result.held_out_samples) == ((), 120, 30)
    assert result.decisions_agreed == 1.0 and result.held_out_accuracy is None
    for one, truth in zip(result.output_errors, (INK, SIDE), strict=True):
        # What the device says of the samples that were held out: the last ones.
        assert one.rmse_of_mean == pytest.approx(np.sqrt(np.mean((truth[120:150] - truth[:120].mean()) ** 2)))
    with opened(result, tmp_path / "state") as session:
        said = [session.predict(frame) for frame in FRAMES[120:150]]
        for one, truth in zip(result.output_errors, (INK, SIDE), strict=True):
            errors = np.array([p.values[one.output.name] for p in said]) - truth[120:150]
            assert one.rmse == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-4)
            assert one.deviation == pytest.approx(np.mean([p.deviations[one.output.name] for p in said]), rel=1e-3)
        learnt = [{"ink": ink, "side": side} for ink, side in zip(INK[150:], SIDE[150:], strict=True)]
        session.learn_many(FRAMES[150:], targets=learnt)
        assert session.predict(FRAMES[0]).generation == 1
    assert "Root mean square errors" in build_page(result)


def test_numbers_by_the_commands_alone(tmp_path: Path) -> None:
    for i, frame in enumerate(FRAMES[:120]):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")
    for name, rows in (("source", range(80)), ("more", range(80, 100)), ("later", range(100, 120))):
        lines = ["path,ink", *(f"{i}.png,{INK[i]}" for i in rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    graph, bundle, state = tmp_path / "net.onnx", tmp_path / "x.edgetl", ("--state", tmp_path / "s", "--allow-unsigned")
    graph.write_bytes(golden.bundle().members["extractor.onnx"])
    host = ("--size", 8, "--channels", "L", "--json")
    made = command("edgetl", "build", "--backbone", f"onnx:{graph}", "--data", tmp_path / "source.csv",
                   "--targets", "ink:0:1:share", "--out", bundle, *host)  # fmt: skip
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["outputs"] == [{"name": "ink", "unit": "share", "low": 0.0, "high": 1.0}] and told["classes"] == []
    assert "numbers     ink" in command("edgetl", "inspect", bundle).stdout
    assert "numbers: ink" in command("edgetl_runtime", "install", bundle, *state).stdout
    learnt = command("edgetl_runtime", "learn", tmp_path / "more.csv", "--json", *state)
    assert learnt.returncode == 0 and len(json.loads(learnt.stdout)["learnt"]) == 20, learnt.stderr
    one = command("edgetl_runtime", "learn", tmp_path / "100.png", "--target", f"ink={INK[100]}", *state)
    assert "learnt sample 21;" in one.stdout, one.stderr
    said = command("edgetl_runtime", "predict", tmp_path / "later.csv", "--check", "--json", *state)
    checked = json.loads(said.stdout)
    assert checked["images"] == 20 and checked["errors"]["ink"]["rmse"] < INK.std()
    words = command("edgetl_runtime", "predict", tmp_path / "110.png", *state).stdout
    assert words.startswith(f"{tmp_path / '110.png'}\tink 0.") and " +- " in words
    for wrong in (("--label", "3"), ("--target", "speed=1"), ("--per-class", "3"), ()):
        refused = command("edgetl_runtime", "learn", tmp_path / "100.png", *wrong, *state)
        assert refused.returncode == 1 and "ink" in refused.stderr, wrong
    assert "Traceback" not in command("edgetl_runtime", "status", *state).stderr


def command(program: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"{program}.cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_signed_bundle_opens_with_the_trusted_key_only(tmp_path: Path) -> None:
    """keygen -> build --key -> trust add -> install, as two people at two machines do it."""
    assert command("edgetl", "keygen", tmp_path / "signing").returncode == 0
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
    again = command("edgetl", "keygen", tmp_path / "signing")
    assert again.returncode == 1 and "not overwritten" in again.stderr
    other = json.loads(command("edgetl", "keygen", tmp_path / "other", "--json").stdout)
    key, public = tmp_path / "signing.key", tmp_path / "signing.pub"
    result = edgetl.build(image_extractor(), edgetl.dataset(FRAMES, LABELS), out=tmp_path / "x.edgetl", key=key)
    assert result.signed
    state = ("--state", tmp_path / "state")
    refused = command("edgetl_runtime", "install", result.path, *state)
    assert refused.returncode == 1 and "trust add" in refused.stderr
    command("edgetl_runtime", "trust", "add", other["public"], *state)
    assert command("edgetl_runtime", "install", result.path, *state, "--allow-unsigned").returncode == 1
    assert command("edgetl_runtime", "trust", "add", public, *state).returncode == 0
    installed = command("edgetl_runtime", "install", result.path, *state, "--json")
    assert installed.returncode == 0, installed.stderr
    signer = json.loads(installed.stdout)["bundle"]["signed_by"]
    assert signer not in (None, other["id"])
    with rt.open(result.path, tmp_path / "state") as session:
        assert session.status()["bundle"]["signed_by"] == signer
    inspected = command("edgetl", "inspect", result.path, "--json")
    assert json.loads(inspected.stdout)["signature_names"] == signer
    judged = command("edgetl", "inspect", result.path, "--trust", public, "--json")
    assert json.loads(judged.stdout)["signed_by"] == signer
    wrong = command("edgetl", "inspect", result.path, "--trust", other["public"])
    assert wrong.returncode == 1 and signer in wrong.stderr


def test_an_unsigned_bundle_opens_only_when_it_is_allowed(built: edgetl.BuildResult, tmp_path: Path) -> None:
    with pytest.raises(BundleUnsignedError, match="allow_unsigned=True"):
        rt.open(built.path, tmp_path)
    opened(built, tmp_path).close()


def test_an_existing_bundle_stays_when_a_build_fails(built: edgetl.BuildResult, tmp_path: Path) -> None:
    out = tmp_path / "x.edgetl"
    out.write_bytes(built.path.read_bytes())
    samples, labels = windows(20)
    broken = [np.full((16, 2), np.nan) for _ in samples]
    with pytest.raises(DatasetError):
        edgetl.build(array_extractor(), edgetl.dataset(broken, labels), out=out)
    assert out.read_bytes() == built.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["x.edgetl"]


def test_a_board_that_there_is_not_is_refused_before_the_long_work(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no device 'toaster'; there are"):
        edgetl.build(array_extractor(), edgetl.dataset(*windows()), out=tmp_path / "x.edgetl", devices=["toaster"])
    assert not (tmp_path / "x.edgetl").exists()
