"""What was made once is read for ever, and an engine that does not reproduce it is not used."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
from edgetl_runtime.bundle.members import GoldenSamples
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleFormatError,
    BundleParityError,
    BundleUnsignedError,
)
from edgetl_runtime.opening import open_session

from tests.runtime import golden
from tests.runtime.golden import views

FRAMES, LABELS = golden.frames(), golden.labels()
LABELLED = list(zip(FRAMES, LABELS))


# -- what was made once must be read for ever


@pytest.mark.parametrize("path", sorted(golden.GOLDEN.glob("bundle-*.edgetl")), ids=lambda path: path.name)
def test_every_released_bundle_is_read_and_passes_its_golden_samples(path: Path, tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state", path) as session:
        assert session.predict(FRAMES[0]).generation == 0
        assert session.learn(FRAMES[0], "new class") == 1
        assert "new class" in session.predict(FRAMES[0]).probabilities


def test_the_golden_state_answers_as_it_did(tmp_path: Path) -> None:
    answers = golden.answers()
    with golden.opened(golden.golden_state(tmp_path / "state")) as session:
        assert [p.label for p in session.predict_many(FRAMES)] == answers["predictions"]
        assert session.status()["generation"] == answers["generation"]
        assert session.status()["learnt_samples"] == answers["learnt"]
    with golden.opened(tmp_path / "state", None, read_only=True) as session:
        assert [p.label for p in session.predict_many(FRAMES)] == answers["predictions"]


# -- the golden samples


def tampered(path: Path, **changes: Any) -> Path:
    manifest = golden.bundle().manifest
    dims = {variant.name: variant.dim for variant in manifest.variants}
    data = golden.bundle().members["golden.safetensors"]
    samples = GoldenSamples.unpack(data, "golden", dims, len(manifest.classes))
    return golden.changed_bundle(path, {"golden.safetensors": dataclasses.replace(samples, **changes).pack()})


def golden_parts() -> Tuple[str, GoldenSamples]:
    manifest = golden.bundle().manifest
    dims = {variant.name: variant.dim for variant in manifest.variants}
    data = golden.bundle().members["golden.safetensors"]
    return manifest.variants[0].name, GoldenSamples.unpack(data, "golden", dims, len(manifest.classes))


@pytest.mark.parametrize("what", ["features", "decisions", "samples", "dtype"])
def test_an_engine_that_does_not_reproduce_the_golden_samples_is_not_used(what: str, tmp_path: Path) -> None:
    name, parts = golden_parts()
    features = parts.features[name].copy()
    features[3, 5] += 0.05 * np.abs(features).max()
    changes: Dict[str, Dict[str, Any]] = {
        "features": {"features": {name: features}},
        "decisions": {"decisions": (parts.decisions + 1) % 9},
        "samples": {"samples": tuple(np.roll(sample, 2) for sample in parts.samples)},
        "dtype": {"samples": tuple(sample / 255.0 for sample in parts.samples)},
    }
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen, installed = views(session), session.status()["bundle"]["id"]
    bad = tampered(tmp_path / "bad.edgetl", **changes[what])
    for _ in range(2):  # and is not remembered as checked
        with pytest.raises(BundleParityError):
            golden.opened(state, bad)
    assert [path.stem for path in (state / "bundles").iterdir()] == [installed]
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), seen)
        assert session.status()["bundle"]["id"] == installed


def test_golden_features_within_the_tolerance_are_accepted(tmp_path: Path) -> None:
    name, parts = golden_parts()
    tolerance = golden.bundle().manifest.variants[0].feature_tolerance
    features = parts.features[name] + np.float32(0.5 * tolerance * np.abs(parts.features[name]).max())
    with golden.opened(tmp_path / "state", tampered(tmp_path / "x.edgetl", features={name: features})) as session:
        assert session.predict(FRAMES[0]).generation == 0


def test_a_bundle_whose_parts_do_not_fit_is_refused_before_it_serves(tmp_path: Path) -> None:
    from edgetl_runtime.bundle.members import HeadMember

    found = golden.bundle()
    variant = found.manifest.variants[0]
    member = HeadMember.unpack(found.members[variant.head], variant.head, variant.feature_space, variant.dim)
    renamed = (*found.manifest.classes[:-1], "x")
    cases: List[Tuple[Dict[str, Any], Optional[Dict[str, bytes]]]] = [
        ({"classes": renamed}, None),
        ({}, {variant.head: dataclasses.replace(member, options={"n0": -1}).pack()}),
        ({}, {variant.head: dataclasses.replace(member, options={"magic": True}).pack()}),
        ({"variants": (dataclasses.replace(variant, features=dataclasses.replace(variant.features, name="x")),)}, None),
    ]
    for number, (fields, members) in enumerate(cases):
        path = golden.changed_bundle(tmp_path / f"{number}.edgetl", members, **fields)
        wrong = BundleCorruptError if members else BundleFormatError  # in a member, or between members and manifest
        with pytest.raises(wrong, match="build the bundle again"):
            golden.opened(tmp_path / f"state {number}", path)
    narrow = dataclasses.replace(variant, features=dataclasses.replace(variant.features, shape=(1, 63)))
    path = golden.changed_bundle(tmp_path / "narrow.edgetl", variants=(narrow,))
    with pytest.raises(BundleCorruptError, match=r"another extractor|features"):
        golden.opened(tmp_path / "state", path)


def test_unsigned_bundles_are_refused_unless_allowed_and_then_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BundleUnsignedError):
        open_session(golden.BUNDLE, tmp_path / "state")
    golden.opened(tmp_path / "state").close()
    assert "not signed" in caplog.text
    with pytest.raises(BundleUnsignedError):  # at every start
        open_session(None, tmp_path / "state")
