"""A session with outputs in place of classes: numbers with their deviations, learnt, judged, forgotten and merged."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError, LabelError
from edgetl_runtime.heads import fit_regressor
from edgetl_runtime.live import LabelRequest, LearningThread, Loop, Memory, inputs_of
from edgetl_runtime.merging import merge_states
from edgetl_runtime.session import Session
from edgetl_runtime.smoothing import Thinner
from edgetl_runtime.sources import Source
from edgetl_runtime.sources.array_feed import ArrayFeed
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Output
from numpy.typing import NDArray

from tests.runtime import golden
from tests.runtime.golden import close_to, opened
from tests.runtime.head_members import target_member

FRAMES = golden.frames()
VARIANT = golden.bundle().manifest.variants[0]
SOURCE, GUARD, OTHERS, ASKED = slice(0, 70), slice(70, 110), range(110, 160), range(160, 200)
OUTPUTS = (Output("ink", "share", 0.0, 1.0), Output("side", "", -8.0, 8.0))


def truths() -> NDArray[np.float64]:
    """How much ink there is, and how much more on the right than on the left, as a bad meter would say: (200, 2)."""
    pictures = FRAMES.astype(np.float64) / 255.0
    exact = np.stack([pictures.mean(axis=(1, 2)), (pictures[:, :, 4:] - pictures[:, :, :4]).sum(axis=(1, 2)) / 8], 1)
    noise = np.random.default_rng(0).normal(size=exact.shape) * 0.5 * exact.std(axis=0)
    return np.clip(exact + noise, [0.0, -8.0], [1.0, 8.0])


TRUTHS = truths()


def targets(i: int, plus: float = 0.0) -> Dict[str, float]:
    return {"ink": float(TRUTHS[i, 0]), "side": float(TRUTHS[i, 1] + plus)}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    with opened(tmp_path_factory.mktemp("features")) as session:
        return np.stack([session.features(frame) for frame in FRAMES])


@lru_cache(maxsize=None)
def shipped(name: str, features: bytes) -> HeadMember:
    rows = np.frombuffer(features, np.float32).reshape(len(FRAMES), -1)[SOURCE]
    return target_member(name, rows, TRUTHS[SOURCE])


def written(path: Path, name: str, features: NDArray[np.float32], **fields: Any) -> Path:
    member, variant = shipped(name, features.tobytes()), VARIANT.name
    known = golden.bundle().members["golden.safetensors"]
    samples = GoldenSamples.unpack(known, "golden", {variant: VARIANT.dim}, 9)
    zeros = np.zeros(len(samples.samples), np.int64)
    guard = GuardSet({variant: features[GUARD]}, np.zeros(40, np.int64), TRUTHS[GUARD])
    members = {
        VARIANT.head: member.pack(),
        "golden.safetensors": dataclasses.replace(samples, decisions=zeros).pack(),
        "guard.safetensors": guard.pack(),
    }
    stated: Dict[str, Any] = {"classes": (), "outputs": OUTPUTS, "carries": member.carries, "name": "numbers"}
    return golden.changed_bundle(path, members, **{**stated, **fields})


@pytest.fixture(params=["ridge", "ridge_rp"])
def bundle(request: pytest.FixtureRequest, features: NDArray[np.float32], tmp_path: Path) -> Path:
    return written(tmp_path / "numbers.edgetl", request.param, features)


def views(session: Session) -> NDArray[np.float64]:
    found = session.predict_many([FRAMES[i] for i in ASKED])
    return np.array([[*p.values.values(), *p.deviations.values(), p.outlier] for p in found])


def error(session: Session, plus: float = 0.0) -> float:
    found = [session.predict(FRAMES[i]).values["side"] for i in ASKED]
    return float(np.sqrt(np.mean((np.array(found) - TRUTHS[list(ASKED), 1] - plus) ** 2)))


def test_a_prediction_is_numbers_by_name_with_their_deviations(bundle: Path, tmp_path: Path) -> None:
    assert read_bundle(bundle).manifest.format == (1, 1)
    with opened(tmp_path / "state", bundle) as session:
        said = session.predict(FRAMES[170])
        assert said.label is None and said.probabilities == {} and said.generation == 0
        assert list(said.values) == list(said.deviations) == ["ink", "side"]
        assert min(said.deviations.values()) > 0 and 0 <= said.outlier < np.inf
        assert error(session) < 0.8 * TRUTHS[:, 1].std()
        status = session.status()
        assert [output["name"] for output in status["outputs"]] == ["ink", "side"] and status["classes"] == {}
        # What looks like nothing known is farther away, and its numbers are less sure.
        noise = session.predict(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8))
        assert noise.outlier > said.outlier and noise.deviations["side"] > said.deviations["side"]


def test_numbers_stay_in_their_range(features: NDArray[np.float32], tmp_path: Path) -> None:
    narrow = (Output("ink", "", 0.0, 0.25), Output("side", "", 0.0, None))
    with opened(tmp_path / "state", written(tmp_path / "n.edgetl", "ridge", features, outputs=narrow)) as session:
        said = [session.predict(FRAMES[i]).values for i in ASKED]
        assert min(v["side"] for v in said) == 0.0 and max(v["ink"] for v in said) == 0.25


def test_what_is_learnt_is_what_the_regressor_of_all_samples_says(
    bundle: Path, features: NDArray[np.float32], tmp_path: Path
) -> None:
    member = shipped("ridge", features.tobytes())
    learnt = Statistics(VARIANT.dim, member.source.shift, member.source.feature_space)
    learnt.add(features[OTHERS], targets=TRUTHS[OTHERS] + np.array([0.0, 1.0]))
    alone = fit_regressor("ridge", learnt, member.source, variance=True)
    with opened(tmp_path / "state", bundle) as session:
        before = error(session, 1.0)
        for i in OTHERS:
            session.learn(FRAMES[i], targets=targets(i, 1.0), source=f"shift {i % 2}")
        live = views(session)
        assert error(session, 1.0) < 0.7 * before and session.status()["learnt_samples"] == 50
        if session.status()["head"] == "ridge":
            wanted = np.clip(alone.predict(features[160:]), [0, -8], [1, 8])
            assert np.abs(live[:, :2] - wanted).max() < 1e-8
            assert np.abs(live[:, 2:4] - np.sqrt(alone.predict_variance(features[160:]))).max() < 1e-8
    with opened(tmp_path / "state", None) as again:
        assert np.array_equal(views(again), live)


def test_forgotten_is_as_if_never_learnt_and_merged_is_as_if_met_by_one(bundle: Path, tmp_path: Path) -> None:
    found = {}
    for name, frames in (("both", OTHERS), ("one", OTHERS[::2]), ("two", OTHERS[1::2]), ("forgot", OTHERS)):
        with opened(tmp_path / name, bundle) as session:
            session.learn_many(
                [FRAMES[i] for i in frames[:20]], targets=[targets(i, 1.0) for i in frames[:20]], source="early"
            )
            for i in frames[20:]:
                session.learn(FRAMES[i], targets=targets(i, 1.0), source=f"shift {i % 2}")
            if name == "forgot":
                ids = {sample.id: i for sample, i in zip(session.samples(), frames)}
                for number, i in ids.items():
                    if i % 2:
                        session.forget(number)
            found[name] = views(session)
    assert close_to(found["forgot"], found["one"])
    merge_states([tmp_path / "one", tmp_path / "two"], tmp_path / "merged")
    with opened(tmp_path / "merged", None) as merged:
        assert close_to(views(merged), found["both"])


def test_the_guard_lets_live_what_is_better_at_no_cost_to_the_source(
    features: NDArray[np.float32], tmp_path: Path
) -> None:
    lit = [np.minimum(frame.astype(np.int64) + 100, 255).astype(np.uint8) for frame in FRAMES]
    bundle = written(tmp_path / "n.edgetl", "ridge_rp", features)

    def off(session: Session) -> float:
        found = [session.predict(lit[i]).values["ink"] for i in ASKED]
        return float(np.abs(np.array(found) - TRUTHS[list(ASKED), 0]).mean())

    with opened(tmp_path / "shifted", bundle, policy="guarded") as session:
        before = off(session)
        for i in OTHERS:
            session.learn(lit[i], targets=targets(i))
        status = session.status()
        assert status["generation"] > 0 and off(session) < 0.5 * before
        assert status["learnt_samples"] == len(OTHERS) and status["guard_samples"] > 0
        live = views(session)
    with opened(tmp_path / "shifted", None, policy="guarded") as again:
        assert np.array_equal(views(again), live)
        assert again.review().decision == "keep"
        again.rollback(to=0)
        assert off(again) == before


def test_the_guard_keeps_what_learnt_nonsense(bundle: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-8, 8, 200)
    with opened(tmp_path / "nonsense", bundle, policy="guarded") as session:
        before = error(session)
        for i in OTHERS:
            session.learn(FRAMES[i], targets={"ink": float(TRUTHS[i, 0]), "side": float(noise[i])})
        assert error(session) <= 1.1 * before


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"label": "3"}, "targets, {ink, side}"),
        ({}, "targets, {ink, side}"),
        ({"targets": {"ink": 0.5}}, "exactly"),
        ({"targets": {"ink": 0.5, "side": 0.0, "speed": 1.0}}, "exactly"),
        ({"targets": [0.5, 0.0]}, "exactly"),
        ({"targets": {"ink": 1.5, "side": 0.0}}, "ink must be a number from 0 to 1"),
        ({"targets": {"ink": float("nan"), "side": 0.0}}, "ink must be a number"),
        ({"targets": {"ink": "much", "side": 0.0}}, "ink must be a number"),
        ({"targets": {"ink": 10**400, "side": 0.0}}, "ink must be a number"),
    ],
)
def test_what_are_no_targets_is_refused_and_nothing_learnt(
    given: Dict[str, Any], what: str, features: NDArray[np.float32], tmp_path: Path
) -> None:
    with opened(tmp_path / "state", written(tmp_path / "n.edgetl", "ridge", features)) as session:
        with pytest.raises(LabelError, match=what):
            session.learn(FRAMES[0], **given)
        assert session.status()["learnt_samples"] == 0


def test_a_number_is_explained_by_the_nearest_learnt_samples(
    features: NDArray[np.float32], tmp_path: Path
) -> None:
    with opened(tmp_path / "state", written(tmp_path / "n.edgetl", "ridge", features)) as session:
        ids = session.learn_many([FRAMES[i] for i in OTHERS], targets=[targets(i) for i in OTHERS])
        why = session.explain(FRAMES[120])
        assert why.label is None and why.evidence == ()
        assert why.neighbours[0].number == ids[10] and json.loads(str(why.neighbours[0].label)) == list(TRUTHS[120])


def test_what_a_person_corrects_while_it_runs_is_learnt(features: NDArray[np.float32], tmp_path: Path) -> None:
    with opened(tmp_path / "state", written(tmp_path / "n.edgetl", "ridge", features)) as session:
        memory, source = Memory(), Source(ArrayFeed("drive", FRAMES[:20], rate_hz=10.0))
        loop = Loop(session, source, inputs_of(source.about, session.takes), memory=memory)
        learning = LearningThread(session, memory, loop.tell, thinner=Thinner(0.0))
        loop.run()
        learning.ask(LabelRequest(None, number=7, targets=targets(6)))
        learning.ask(LabelRequest("left", number=8))
        learning.ask(LabelRequest(None, number=7, targets=targets(6)))
        learning.close()
        learnt, *refused = loop.leftover()
        assert (learnt["kind"], learnt["number"], learnt["targets"]) == ("learnt", 7, targets(6))
        assert ["targets, {ink, side}" in refused[0]["reason"], "learnt already" in refused[1]["reason"]] == [True] * 2
        (sample,) = session.samples()
        assert sample.id == learnt["id"] and json.loads(sample.label) == list(TRUTHS[6])


def test_a_bundle_of_classes_takes_no_targets(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as session, pytest.raises(LabelError, match="a label"):
        session.learn(FRAMES[0], targets={"ink": 0.5})


BROKEN: List[Any] = [
    {"outputs": OUTPUTS[:1]},
    {"outputs": ()},
    {"classes": golden.bundle().manifest.classes},
    {"outputs": (OUTPUTS[0], OUTPUTS[0])},
    {"outputs": (OUTPUTS[0], Output("side", "", 3.0, 2.0))},
    {"outputs": (OUTPUTS[0], Output("no name"))},
]


@pytest.mark.parametrize("fields", BROKEN, ids=str)
def test_a_bundle_whose_parts_say_other_things_is_refused(
    fields: Dict[str, Any], features: NDArray[np.float32], tmp_path: Path
) -> None:
    with pytest.raises((BundleFormatError, BundleCorruptError)):
        opened(tmp_path / "state", written(tmp_path / "n.edgetl", "ridge", features, **fields))
    assert not list((tmp_path / "state").glob("bundles/*"))
