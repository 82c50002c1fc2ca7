"""A session with each head that is more than sums of features: learning, restarts, forgetting and merging."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.members import GoldenSamples, HeadMember
from edgetl_runtime.merging import merge_states
from numpy.typing import NDArray

from tests.runtime import golden
from tests.runtime.golden import close_to, opened, views
from tests.runtime.head_members import REPLAY, member

FRAMES, LABELS = golden.frames(), golden.labels()
VARIANT = golden.bundle().manifest.variants[0]
KNOWN = [i for i in range(100) if LABELS[i] in golden.bundle().manifest.classes]
OTHERS = range(100, 160)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    with opened(tmp_path_factory.mktemp("features")) as session:
        return np.stack([session.features(frame) for frame in FRAMES])


@lru_cache(maxsize=None)
def _shipped(name: str, features: bytes) -> HeadMember:
    rows = np.frombuffer(features, np.float32).reshape(len(KNOWN), -1)
    return member(name, rows, [LABELS[i] for i in KNOWN], room=120)


@pytest.fixture
def bundle(request: pytest.FixtureRequest, features: NDArray[np.float32], tmp_path: Path) -> Path:
    """The golden bundle with another head, fitted on the features of some frames."""
    shipped, manifest, name = _shipped(request.param, features[KNOWN].tobytes()), golden.bundle().manifest, "golden"
    samples = GoldenSamples.unpack(golden.bundle().members[f"{name}.safetensors"], name, {VARIANT.name: VARIANT.dim}, 9)
    decided = [manifest.classes.index(label) for label in shipped.factory.predict(samples.features[VARIANT.name])]
    members = {
        VARIANT.head: shipped.pack(),
        f"{name}.safetensors": dataclasses.replace(samples, decisions=np.array(decided)).pack(),
    }
    path = golden.changed_bundle(tmp_path / "other.edgetl", members, carries=shipped.carries, name="other head")
    assert read_bundle(path).manifest.format == (1, 1)
    return path


HEADS = pytest.mark.parametrize("bundle", ["ridge_rp", *REPLAY], indirect=True)
EXACT = pytest.mark.parametrize("bundle", ["ridge_rp"], indirect=True)
REFITTED = pytest.mark.parametrize("bundle", REPLAY, indirect=True)


def right(state: Path, frames: range) -> float:
    with opened(state, None) as session:
        return float(np.mean([session.predict(FRAMES[i]).label == LABELS[i] for i in frames]))


@HEADS
def test_it_learns_one_by_one_and_comes_back_the_same_after_a_restart(bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with opened(state, bundle) as session:
        before = views(session)
        for i in OTHERS:
            session.learn(FRAMES[i], LABELS[i], source=f"shift {i % 2}")
        live = views(session)
        assert "9" in session.predict(FRAMES[0]).probabilities  # a class that the bundle does not know
        assert live.shape[1] == before.shape[1] + 1 and np.isfinite(live).all()
    with opened(state, None) as again:
        assert np.array_equal(views(again), live)
    assert right(state, range(160, 200)) > 0.6


@EXACT
def test_forgotten_is_as_if_never_learnt_and_merged_is_as_if_met_by_one(bundle: Path, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("one", "two", "both", "forgot")}
    found = {}
    for name, frames in (("both", OTHERS), ("one", OTHERS[::2]), ("two", OTHERS[1::2]), ("forgot", OTHERS)):
        with opened(folders[name], bundle) as session:
            for i in frames:
                session.learn(FRAMES[i], LABELS[i], source=f"shift {i % 2}")
            if name == "forgot":
                session.forget(source="shift 1")
            found[name] = views(session)
    assert close_to(found["forgot"], found["one"])
    merge_states([folders["one"], folders["two"]], tmp_path / "merged")
    with opened(tmp_path / "merged", None) as merged:
        assert close_to(views(merged), found["both"])


@REFITTED
def test_what_was_forgotten_has_no_part_in_the_head_any_more(bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with opened(state, bundle) as session:
        factory = views(session)
        session.learn_many([FRAMES[i] for i in OTHERS], [LABELS[i] for i in OTHERS], source="first shift")
        session.learn_many(FRAMES[:5], ["a new one"] * 5, source="second shift")
        assert session.status()["exact"] is False
        assert session.forget(label="a new one") == 5
        assert "a new one" not in session.predict(FRAMES[0]).probabilities
        without = views(session)
        session.forget(source="first shift")
        assert np.array_equal(views(session), factory)
    with opened(tmp_path / "never", bundle) as never:
        never.learn_many([FRAMES[i] for i in OTHERS], [LABELS[i] for i in OTHERS], source="first shift")
        assert np.array_equal(views(never), without)


@REFITTED
def test_merged_devices_make_one_head_of_all_that_they_learnt(bundle: Path, tmp_path: Path) -> None:
    for name, new, frames in (("one", "only one", FRAMES[:6]), ("two", "only two", FRAMES[6:12])):
        with opened(tmp_path / name, bundle) as session:
            session.learn_many(frames, [new] * 6)
    assert sum(merge_states([tmp_path / "one", tmp_path / "two"], tmp_path / "merged").values()) == 12
    with opened(tmp_path / "merged", None) as merged:
        assert {"only one", "only two"} <= set(merged.predict(FRAMES[0]).probabilities)
        live = views(merged)
    with opened(tmp_path / "merged", None) as again:
        assert np.array_equal(views(again), live)


@HEADS
def test_a_decision_is_explained_by_its_classes_and_the_nearest_samples(bundle: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "state", bundle) as session:
        ids = session.learn_many([FRAMES[i] for i in OTHERS], [LABELS[i] for i in OTHERS], source="shift")
        before = session.predict(FRAMES[180])
        why = session.explain(FRAMES[180], neighbours=3)
        assert why.label == before.label and why.evidence[0].probability == max(before.probabilities.values())
        assert {e.label: e.probability for e in why.evidence} == before.probabilities
        assert len(why.neighbours) == 3
        # A sample that was learnt is its own nearest, whatever the source brought.
        near = session.explain(FRAMES[110]).neighbours[0]
        assert (near.number, near.label) == (ids[10], LABELS[110]) and near.cosine > 0.9999
        of_source = session.explain(FRAMES[KNOWN[0]]).neighbours[0]
        shipped = not session.status()["exact"]
        assert (of_source.number < 0) == shipped and (of_source.cosine > 0.9999) == shipped
        after = session.predict(FRAMES[180])
        assert (after.probabilities, after.generation) == (before.probabilities, before.generation)
        session.forget(ids[10])
        assert ids[10] not in [near.number for near in session.explain(FRAMES[110], 200).neighbours]
