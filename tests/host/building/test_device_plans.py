"""From devices to a bundle: which precisions are wished for, what becomes of them, and that a device can follow it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
import pytest
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember

import edgetl
from edgetl.building.device_plans import plans_of, wishes
from edgetl.building.device_verdicts import LEAST_SPEEDUP
from edgetl.building.engine_trials import EngineFigures
from edgetl.cli.build import add_arguments
from edgetl.errors import QuantizeError
from edgetl.profiles import load_profile, load_profiles
from edgetl.reporting.build_page import build_page
from tests.host.quantize.test_graphs import network
from tests.host.quantize.test_ladder import extractor
from tests.runtime import golden

FRAMES, LABELS = golden.frames(), golden.labels()


def wished(device: str, precisions: list[str] | None = None) -> list[tuple[str, str]]:
    return [(w.engine, w.precision) for w in wishes([load_profile(device)], precisions)]


def test_a_device_is_given_what_its_profile_wants_in_the_engines_that_gain_by_it() -> None:
    assert wished("x86-openvino") == [
        ("openvino", "u8s8"), ("openvino", "fp32"), ("onnxruntime", "u8s8"), ("onnxruntime", "fp32"),
    ]  # fmt: skip
    assert wished("jetson-orin-nano") == [
        ("tensorrt", "fp16"), ("tensorrt", "s8s8"), ("tensorrt", "fp32"),
        ("onnxruntime", "fp32"), ("onnxruntime", "fp32"),
    ]  # fmt: skip
    assert wished("raspberry-pi-5") == [("onnxruntime", "fp32")]
    cuda = [w.options.get("provider") for w in wishes([load_profile("jetson-orin-nano")]) if w.engine == "onnxruntime"]
    assert cuda == ["cuda", None]


def test_a_user_chooses_among_precisions_and_may_ask_for_more() -> None:
    assert wished("jetson-orin-nano", ["int8", "fp32"])[:2] == [("tensorrt", "s8s8"), ("tensorrt", "fp32")]
    assert wished("x86-openvino", ["fp32"]) == [("openvino", "fp32"), ("onnxruntime", "fp32")]
    # Nobody knows whether INT8 is faster there, so float32 comes first.
    assert wished("raspberry-pi-5", ["int8"]) == [("onnxruntime", "fp32"), ("onnxruntime", "s8s8")]
    with pytest.raises(QuantizeError, match="no precision 'int4'"):
        wished("x86-openvino", ["int4"])
    with pytest.raises(QuantizeError, match="name them"):
        wishes([], ["int8"])


@pytest.mark.parametrize("profile", load_profiles(), ids=lambda profile: profile.id)
def test_float32_is_among_the_wishes_for_every_engine_of_every_board(profile: Any) -> None:
    found = wishes([profile])
    assert {w.engine for w in found} == {w.engine for w in found if w.precision == "fp32"} == {*profile.engines.value}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> edgetl.BuildResult:
    pytest.importorskip("openvino")
    out = tmp_path_factory.mktemp("built") / "digits.edgetl"
    return edgetl.build(
        network(), edgetl.dataset(FRAMES, LABELS), out=out, devices=["x86-openvino", "jetson-orin-nano"],
        max_drop=5.0, min_agreement=90.0, threads=1,
    )  # fmt: skip


def test_every_shipped_variant_has_a_space_a_head_and_statistics_of_its_own(built: edgetl.BuildResult) -> None:
    bundle = rt.read_bundle(built.path)
    manifest = bundle.manifest
    assert manifest.format == (1, 1) and manifest.variants[0].name == "fp32"
    assert {"fp32", "fp16", "s8s8"} <= {variant.name for variant in manifest.variants}
    assert len({variant.feature_space for variant in manifest.variants}) == len(manifest.variants)
    dims = {variant.name: variant.dim for variant in manifest.variants}
    guard = GuardSet.unpack(bundle.members["guard.safetensors"], "guard", dims, len(built.classes))
    golden_samples = GoldenSamples.unpack(bundle.members["golden.safetensors"], "golden", dims, len(built.classes))
    for variant in manifest.variants:
        member = HeadMember.unpack(bundle.members[variant.head], variant.head, variant.feature_space, variant.dim)
        assert member.source.count == built.training_samples
        decided = [str(label) for label in member.factory.predict(golden_samples.features[variant.name])]
        assert decided == [built.classes[i] for i in golden_samples.decisions]
        assert guard.features[variant.name].shape == (built.held_out_samples, variant.dim)
    means = {
        name: HeadMember.unpack(bundle.members[f"head.{name}.safetensors"], name, space, dims[name]).source.shift
        for name, space in ((v.name, v.feature_space) for v in manifest.variants)
    }
    assert not np.array_equal(means["s8s8"], means["fp32"]), "fitted on features of its own"


def test_the_plan_is_what_the_verdicts_say_and_each_is_backed_by_what_was_measured(built: edgetl.BuildResult) -> None:
    plans = rt.read_bundle(built.path).manifest.plans
    assert plans == built.plans == plans_of(built.verdicts)
    assert {*plans} == {"any", "x86-openvino", "jetson-orin-nano-8gb"}
    reports = {report.name: report for report in built.variants}
    for verdict in built.verdicts:
        if verdict.speedup is not None:
            assert verdict.offered == (verdict.speedup >= LEAST_SPEEDUP)
            figures = reports[verdict.wish.precision].engines[verdict.wish.engine]
            assert isinstance(figures, EngineFigures) and figures.speedup == verdict.speedup
    tensorrt = [choice.variant for choice in plans["jetson-orin-nano-8gb"] if choice.engine == "tensorrt"]
    assert tensorrt == ["fp16", "s8s8", "fp32"]
    assert [c.variant for c in plans["x86-openvino"]][-1] == "fp32"
    # What nothing offers is not carried.
    offered = {choice.variant for choices in plans.values() for choice in choices}
    assert {report.name for report in built.variants if report.shipped} == offered


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_device_opens_every_variant_and_decides_as_the_host_did(
    built: edgetl.BuildResult, tmp_path: Path, engine: str
) -> None:
    for report in built.variants:
        if not report.shipped or (engine not in report.engines and engine != "onnxruntime"):
            continue
        state = tmp_path / report.name
        with rt.open(built.path, state, allow_unsigned=True, threads=1, engine=engine, variant=report.name) as session:
            held_out = list(edgetl.dataset(FRAMES, LABELS).held_out)
            right = sum(session.predict(frame).label == label for frame, label in held_out)
            session.learn(FRAMES[0], "new")
            assert session.predict(FRAMES[0]).label == "new"
        assert report.held_out is not None
        if engine == "onnxruntime":
            assert right / len(held_out) == report.held_out.own_head


def test_without_devices_there_is_float32_alone_in_format_1_0(tmp_path: Path) -> None:
    result = edgetl.build(network(), edgetl.dataset(FRAMES[:60], LABELS[:60]), out=tmp_path / "x.edgetl")
    manifest = rt.read_bundle(result.path).manifest
    assert manifest.format == (1, 0) and [variant.name for variant in manifest.variants] == ["fp32"]
    assert (result.variants, result.plans, result.verdicts, result.caution) == ((), {}, (), "")


def test_limits_that_nothing_holds_leave_float32_and_say_why(tmp_path: Path) -> None:
    ruined = extractor(1, 2, 3, weight=20.0)
    result = edgetl.build(
        ruined, edgetl.dataset(FRAMES, LABELS), out=tmp_path / "x.edgetl", devices=["jetson-orin-nano"],
        precisions=["int8", "fp32"], max_drop=0.0, min_agreement=100.0, threads=1,
    )  # fmt: skip
    s8s8 = next(report for report in result.variants if report.name == "s8s8")
    assert not s8s8.shipped and "no rung of s8s8" in s8s8.why
    # Float16 takes its place in TensorRT, though nobody wished for it.
    tried = [choice.variant for choice in (result.plans or {})["jetson-orin-nano-8gb"] if choice.engine == "tensorrt"]
    assert tried in (["fp16", "fp32"], ["fp32"])
    assert any(report.name == "fp16" for report in result.variants)
    assert "cannot show a drop of 0 points" in result.caution


def test_the_page_and_the_facts_show_every_variant_and_why(built: edgetl.BuildResult) -> None:
    page = build_page(built)
    for report in built.variants:
        assert report.name in page
    for words in ("Precisions", "Where INT8 loses", "What each device tries", "jetson-orin-nano-8gb", "calibration"):
        assert words in page
    facts = rt.read_bundle(built.path).manifest.provenance["quantization"]
    assert facts["limits"] == {"max_drop": 5.0, "min_agreement": 90.0}
    assert set(facts["variants"]) == {report.name for report in built.variants} - {"fp32"}
    assert json.dumps(facts)


def test_the_command_takes_the_same_choices() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    common = ["--backbone", "x", "--data", "y", "--out", "z", "--device", "cpu"]
    chosen = parser.parse_args([*common, "--precision", "fp32, int8", "--max-drop", "1", "--min-agreement", "97"])
    assert (chosen.precision, chosen.max_drop, chosen.min_agreement) == (["fp32", "int8"], 1.0, 97.0)
    plain = parser.parse_args(common)
    assert (plain.precision, plain.max_drop, plain.min_agreement, plain.quantization_aware) == (None, 0.5, 98.0, 0)
