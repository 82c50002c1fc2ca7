"""Samples without labels: seen, named, adapted to on probation; never a change by themselves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.adapt import is_adapted
from edgetl_runtime.errors import SourceError, StateError, UnknownSampleError
from edgetl_runtime.observing import ObservePolicy
from edgetl_runtime.session import Session

from tests.runtime import golden
from tests.runtime.states import run_sql

KNOWN = [i for i, label in enumerate(golden.labels()) if label != "9"]
FRAMES, LABELS = golden.frames()[KNOWN], [golden.labels()[i] for i in KNOWN]
NINES = golden.frames()[[i for i, label in enumerate(golden.labels()) if label == "9"]]
# Haze: the factory head is right in 43 %, behind the best adapter in 96 %.
HAZY = (FRAMES * 0.6 + 40).astype(np.uint8)
HALF = len(HAZY) // 2
OPEN = ObservePolicy(look_every=100000)  # looked at when a test says so


def opened(state: Path, *arguments: Any, **options: Any) -> Session:
    options.setdefault("observe", OPEN)
    return golden.opened(state, *arguments, policy=options.pop("policy", "guarded"), **options)


def right(session: Session, frames: Any = HAZY) -> float:
    return float(np.mean([session.predict(frame).label == label for frame, label in zip(frames, LABELS)]))


def moved(session: Session) -> Any:
    session.observe_many(HAZY)
    return session.drift()


def taught(session: Session, most: int = 120) -> int:
    """How many labels it takes until an adapter's head is live."""
    for count in range(most):
        session.learn(HAZY[count], LABELS[count])
        if session.status()["drift"]["follows"]:
            return count + 1
    return most


def test_nothing_changed_is_called_nothing_and_makes_no_challenger(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        assert session.status()["drift"]["kind"] == "none"
        session.observe_many(FRAMES)
        found = session.drift()
        assert (found["kind"], found["challengers"]) == ("none", [])
        assert found["independent"] > 30 and set(found["tests"]) >= {"labels", "features", "means"}


def test_a_moved_domain_is_named_and_its_adapters_wait_for_labels(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        before = right(session)
        found = moved(session)
        assert found["kind"] == "covariate shift" and len(found["challengers"]) >= 3
        verdict = session.review()
        assert verdict.decision == "ask" and "no label has judged it" in verdict.reason
        assert session.status()["generation"] == 0 and right(session) == before
        assert "samples look different" in session.history()[-2].words


def test_labels_judge_the_adapters_and_the_proven_one_goes_live_as_a_generation(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        before = right(session, HAZY[HALF:])
        session.observe_many(HAZY[HALF:])
        session.drift()
        needed = taught(session, HALF)
        assert needed < HALF
        status = session.status()
        assert status["generation"] >= 1 and status["drift"]["follows"] and not status["drift"]["challengers"]
        words = [entry.words for entry in session.history() if "follows covariate shift" in entry.words]
        assert words and "without labels" in words[0] and "turn right" in words[0]
        answers = [session.predict(frame).label for frame in HAZY]
        generation = status["generation"]
    with opened(tmp_path, None) as again:
        assert [again.predict(frame).label for frame in HAZY] == answers
        assert again.status()["drift"]["follows"] == status["drift"]["follows"]
        assert is_adapted(again._lineage.live.fitted.head)
        assert again.rollback(to=0) == 0 and again.status()["drift"]["follows"] is None
        assert again.rollback(to=generation) == generation
        after = float(np.mean([a == b for a, b in zip(answers[:HALF], LABELS[:HALF])]))
        assert after > before + 0.1


def test_adapters_that_labels_find_worse_never_go_live(tmp_path: Path) -> None:
    """The haze is gone: labelled samples are as they were at the host, where adapters harm."""
    with opened(tmp_path) as session:
        moved(session)
        before = right(session, FRAMES)
        for frame, label in zip(FRAMES[:100], LABELS):
            session.learn(frame, label)
        assert session.status()["drift"]["follows"] is None
        assert right(session, FRAMES) >= before - 0.02


def test_a_person_may_say_yes_without_labels(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        before = right(session)
        moved(session)
        assert session.review(accept=True).decision == "promote"
        assert session.status()["drift"]["follows"] and right(session) > before + 0.1
        assert "accepted by hand" in session.history()[-1].words


def test_only_a_user_who_chose_it_has_heads_adopted_without_labels(tmp_path: Path) -> None:
    chosen = ObservePolicy(look_every=100000, without_labels="adopt")
    with opened(tmp_path, observe=chosen) as session:
        moved(session)
        assert session.status()["generation"] == 1 and session.status()["drift"]["follows"]
        assert "the user chose that" in session.history()[-2].words + session.history()[-1].words
    with pytest.raises(StateError):
        ObservePolicy(without_labels="always")


def test_the_manual_policy_only_asks(tmp_path: Path) -> None:
    with opened(tmp_path, policy="manual") as session:
        moved(session)
        assert taught(session, 100) == 100
        assert session.status()["generation"] == 0


def test_learning_goes_on_behind_an_adapted_head(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        moved(session)
        session.review(accept=True)
        session.learn(NINES[0], "my nine")
        assert session.predict(NINES[0]).label == "my nine"


@pytest.mark.parametrize("spoilt", ["one class", "one scene", "dead sensor"])
def test_buffers_that_show_a_part_of_the_world_make_no_head(spoilt: str, tmp_path: Path) -> None:
    frames = {
        "one class": HAZY[[i for i, label in enumerate(LABELS) if label in "01"]],
        "one scene": np.repeat(HAZY[:1], 200, axis=0) + (np.arange(200) % 2)[:, None, None].astype(np.uint8),
        "dead sensor": np.zeros_like(HAZY),
    }[spoilt]
    with opened(tmp_path) as session:
        session.observe_many(frames)
        found = session.drift()
        assert found["challengers"] == [] and session.status()["generation"] == 0


def test_what_was_seen_outlives_a_restart_and_nothing_is_written_a_frame(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.observe_many(HAZY[:50])
        assert session._store.observed.size_bytes() == 0
        found = session.drift()
    with opened(tmp_path, None) as again:
        kept = again.status()["drift"]
        assert (kept["kept"], kept["kind"]) == (50, found["kind"])
        assert again.observe_many(HAZY[:1]) == [51]
    run_sql(tmp_path, "UPDATE statistics SET samples = samples + 1 WHERE id = 2")
    with opened(tmp_path, None) as damaged:
        assert damaged.status()["drift"]["kept"] == 0 and damaged.status()["quarantined"] == 1


def test_evidence_for_an_adapter_outlives_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path, policy="manual") as session:
        moved(session)
        taught(session, 20)
        before = {one["adapter"]: one["judged"] for one in session.status()["drift"]["challengers"]}
        session.observe_many(HAZY[:1])
    with opened(tmp_path, None, policy="manual") as again:
        again.drift()
        after = {one["adapter"]: one["judged"] for one in again.status()["drift"]["challengers"]}
        assert min(before.values()) >= 15 and {name: after[name] for name in before} == before


def test_a_full_quota_keeps_what_was_learnt_and_not_what_was_only_seen(tmp_path: Path) -> None:
    with opened(tmp_path, quota_bytes=1000) as session:
        session.observe_many(HAZY)
    with opened(tmp_path, None) as again:
        assert again.status()["drift"]["kept"] == 0


def test_forgetting_forgets_what_was_seen_too(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        moved(session)
        number = session.learn(HAZY[0], LABELS[0])
        session.review(accept=True)
        session.review(accept=True)
        assert session.status()["drift"]["follows"]
        session.forget(number)
        status = session.status()["drift"]
        assert (status["kept"], status["follows"], status["challengers"]) == (0, None, [])
        assert session._store.observed.size_bytes() == 0


def test_a_stream_is_thinned_and_bounded(tmp_path: Path) -> None:
    policy = ObservePolicy(gap_s=1.0, most_samples=30, look_every=100000)
    with opened(tmp_path, observe=policy) as session:
        numbers: List[Any] = [session.observe(frame, 0.4 * i) for i, frame in enumerate(HAZY)]
        kept = [number for number in numbers if number is not None]
        assert kept == list(range(1, len(kept) + 1)) and len(kept) == pytest.approx(0.4 * len(HAZY) / 1.2, abs=2)
        assert session.status()["drift"]["kept"] == 30 and session.status()["drift"]["seen"] == len(HAZY)


def test_looks_happen_by_themselves_beside_the_predictions(tmp_path: Path) -> None:
    with opened(tmp_path, observe=ObservePolicy(gap_s=0.0, look_every=50)) as session:
        for frame in HAZY:
            session.predict(frame, observe=True)
        until = time.monotonic() + 20.0
        while session.status()["drift"]["kind"] != "covariate shift" and time.monotonic() < until:
            time.sleep(0.01)
        assert session.status()["drift"]["kind"] == "covariate shift"


def test_who_only_reads_sees_the_drift_that_was_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        moved(session)
    with opened(tmp_path, None, read_only=True) as reader:
        assert reader.status()["drift"]["kind"] == "covariate shift"
        found = reader.drift()
        assert found["kind"] == "covariate shift" and found["kept"] == len(HAZY)
        with pytest.raises(StateError):
            reader.questions()


def test_questions_go_where_heads_disagree_and_their_answers_judge(tmp_path: Path) -> None:
    with opened(tmp_path, observe=ObservePolicy(look_every=100000, questions_per_day=40)) as session:
        moved(session)
        asked = session.questions()
        assert len(asked) == 40 and all(one.words == "the heads disagree: what is it?" for one in asked)
        assert session.questions() == asked  # open ones, and the day's budget is spent
        for one in asked:
            if one.number not in {question.number for question in session.questions()}:
                continue
            session.answer(one.number, LABELS[one.observed[0] - 1])
            if session.status()["drift"]["follows"]:
                break
        assert session.status()["drift"]["follows"]
        assert 0.0 <= session.status()["drift"]["questions"]["accuracy"] <= 1.0
        with pytest.raises(UnknownSampleError):
            session.answer(asked[0].number, "0")


def test_one_label_teaches_a_cluster_of_unknown_ones(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        session.observe_many(np.concatenate([FRAMES[:100], NINES]))
        session.drift()
        cluster = session.questions()[0]
        assert cluster.kind == "cluster" and "look alike: what are they?" in cluster.words
        nines = sum(number > 100 for number in cluster.observed)
        assert nines >= 0.8 * len(cluster.observed) and nines >= 5
        before = np.mean([session.predict(frame).label == "9" for frame in NINES])
        session.answer(cluster.number, "9")
        after = np.mean([session.predict(frame).label == "9" for frame in NINES])
        assert before == 0.0 and after > 0.7


def test_a_recorded_stream_is_gone_through_again_and_nothing_of_it_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        frames = np.concatenate([FRAMES, HAZY])
        features = [session.features(frame) for frame in frames]
        policy = ObservePolicy(gap_s=0.0, look_every=32)
        found = session.rehearse(features, range(len(frames)), LABELS + LABELS, policy, 2)
        kinds = [step["kind"] for step in found["steps"]]
        assert kinds[0] == "none" and found["kind"] == "covariate shift" and found["follows"]
        promoted = [one for one in found["decisions"] if one["decision"] == "promote"]
        assert promoted and promoted[0]["samples"] > len(FRAMES)
        last = found["steps"][-1]["right"]
        assert last["guard"] > last["live"] + 0.2
        assert session.status()["generation"] == 0 and session.status()["drift"]["kept"] == 0
        names = LABELS * 5
        back = session.rehearse(features + features[: len(FRAMES)] * 3, range(len(names)), names, policy, 1)
        late = back["steps"][-5:]  # the haze is gone: what was made live for it is not left standing
        assert sum(step["right"]["guard"] - step["right"]["live"] for step in late) > -0.1
        with pytest.raises(SourceError):
            session.rehearse(features[:20], range(20), None, policy, 2)
