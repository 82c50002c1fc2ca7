"""What is learnt goes live on evidence, or by a person's word, and never because a device was restarted."""

from __future__ import annotations

import copy
import functools
import json
import operator
import sqlite3
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest
from edgetl_runtime.bundle.members import read_guard
from edgetl_runtime.errors import GenerationError, StateError
from edgetl_runtime.learner import Learner
from edgetl_runtime.merging import merge_states

from tests.runtime import golden
from tests.runtime.golden import close_to, views

FRAMES, LABELS = golden.frames(), golden.labels()
OLD = [i for i, label in enumerate(LABELS) if label != "9"]
NEW = [i for i, label in enumerate(LABELS) if label == "9"]


def wrong(label: str) -> str:
    return str((int(label) + 1) % 9)


def guarded(state: Path, *arguments: Any, **options: Any) -> Any:
    return golden.opened(state, *arguments, policy=options.pop("policy", "guarded"), **options)


def test_a_new_class_is_live_after_one_label(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        session.learn(FRAMES[NEW[0]], "my nine")
        assert session.predict(FRAMES[NEW[0]]).label == "my nine"
        assert session.status()["generation"] == 1
        assert "new class" in session.history()[-1].words


def test_a_label_that_proves_nothing_is_kept_and_waits(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        before = views(session)
        assert session.learn(FRAMES[OLD[0]], LABELS[OLD[0]]) == 1
        assert np.array_equal(views(session), before)
        status = session.status()
        assert (status["generation"], status["learnt_samples"], status["waiting_samples"]) == (0, 1, 1)
        assert session.review().decision == "keep"
        assert session.history()[-1].kind == "verdict"


def test_wrong_labels_never_go_live(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        before = views(session)
        for i in OLD[:80]:
            session.learn(FRAMES[i], wrong(LABELS[i]))
        assert np.array_equal(views(session), before)
        assert session.status()["generation"] == 0
        assert session.status()["learnt_samples"] == 80
        assert session.review().decision == "keep"


def test_one_by_one_in_batches_and_over_restarts_the_same_is_learnt(tmp_path: Path) -> None:
    """With labels that wait, the candidate is the sum of all in every case; by hand it goes live."""
    chosen = OLD[:41]
    for name, steps in (("one", 1), ("many", 41), ("restarts", 9)):
        for start in range(0, len(chosen), steps):
            with guarded(tmp_path / name, policy="manual") as session:
                part = chosen[start : start + steps]
                session.learn_many(FRAMES[part], [LABELS[i] for i in part])
                if name != "restarts":
                    continue
    roles = []
    seen = []
    for name in ("one", "many", "restarts"):
        with guarded(tmp_path / name, policy="manual") as session:
            assert session.status()["generation"] == 0
            assert session.review(accept=True).decision == "promote"
            roles.append([sample.role for sample in session.samples()])
            seen.append(views(session))
    trained = [roles_.count("train") for roles_ in roles]
    assert min(trained) > 30
    assert roles[0] == roles[2] and close_to(seen[0], seen[2])


def test_a_restart_loses_nothing_of_the_evidence(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        for i in OLD[:30]:
            session.learn(FRAMES[i], LABELS[i], source="camera")
        session.learn(FRAMES[NEW[0]], "9")
        for i in OLD[30:50]:
            session.learn(FRAMES[i], LABELS[i])
        before, seen = session._teacher._judge.guard.state(), views(session)
        verdict = session.review()
    with guarded(tmp_path / "state", None) as again:
        assert np.array_equal(views(again), seen) or verdict.decision != "keep"
        again._teacher._ready()
        if verdict.decision == "keep":
            assert again._teacher._judge.guard.state() == before
        assert again.review().decision == "keep"


def test_by_hand_nothing_moves_until_a_person_says_yes(tmp_path: Path) -> None:
    with guarded(tmp_path / "state", policy="manual") as session:
        before = views(session)
        session.learn(FRAMES[NEW[0]], "9")
        assert np.array_equal(views(session), before)
        assert session.review().decision == "ask"
        assert np.array_equal(views(session), before)
        assert session.review(accept=True).decision == "promote"
        assert session.predict(FRAMES[NEW[0]]).label == "9"
        assert "accepted by hand" in session.history()[-1].words
        assert session.review(accept=True).decision == "keep"  # nothing new to say yes to
        assert session.status()["generation"] == 1


def test_the_first_label_of_a_class_that_a_person_gives_on_purpose_is_live(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        session.learn(FRAMES[OLD[0]], LABELS[OLD[0]], on_purpose=True)
        assert session.status()["generation"] == 1
        assert "purpose" in session.history()[-1].words


def test_an_unknown_policy_is_refused_before_anything_is_opened_for_good(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="guarded, immediate, manual"):
        guarded(tmp_path / "state", policy="reckless")
    guarded(tmp_path / "state").close()  # the lock was given back


def test_some_samples_of_classes_that_have_taught_enough_judge_only(tmp_path: Path) -> None:
    with guarded(tmp_path / "state", policy="manual") as session:
        for start in (0, 60, 120):
            part = OLD[start : start + 60]
            session.learn_many(FRAMES[part], [LABELS[i] for i in part])
        samples = session.samples()
        held = [sample for sample in samples if sample.role == "guard"]
        status = session.status()
        assert 0 < len(held) < 0.25 * len(samples)
        assert status["guard_samples"] == len(held)
        assert status["learnt_samples"] == len(samples) == status["waiting_samples"] + len(held)
        for sample in held:
            assert sum(s.label == sample.label and s.id < sample.id and s.role == "train" for s in samples) >= 5
        session.review(accept=True)
        keep = [OLD[sample.id - 1] for sample in samples if sample.role == "train"]
        without = Learner(session._member, read_guard(golden.bundle(), golden.bundle().manifest.variants[0]))
        without.add(np.stack([session.features(FRAMES[i]) for i in keep]), [LABELS[i] for i in keep])
        asked = np.stack([session.features(frame) for frame in FRAMES[-40:]])
        live = session._lineage.live.fitted.head
        assert close_to(live.predict_proba(asked), without.fit().head.predict_proba(asked))
        assert session.forget(held[0].id) == 1
        assert session.status()["generation"] == 1  # no head had learnt from it


def test_what_a_guard_did_not_let_through_is_not_live_after_merging(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "good") as good:
        good.learn_many(FRAMES[OLD[:20]], [LABELS[i] for i in OLD[:20]])
        expected = views(good)
    with guarded(tmp_path / "doubtful") as doubtful:
        doubtful.learn_many(FRAMES[OLD[20:40]], [wrong(LABELS[i]) for i in OLD[20:40]], source="vandal")
        assert doubtful.status()["generation"] == 0
    merge_states([tmp_path / "doubtful", tmp_path / "good"], tmp_path / "fleet")
    with guarded(tmp_path / "fleet", None) as fleet:
        assert close_to(views(fleet), expected)
        assert (fleet.status()["live_samples"], fleet.status()["learnt_samples"]) == (20, 40)
        assert fleet.forget(source="vandal") == 20
        assert close_to(views(fleet), expected)
    merge_states([tmp_path / "doubtful", tmp_path / "fleet"], tmp_path / "again")
    with guarded(tmp_path / "again", None, read_only=True) as again:
        assert close_to(views(again), expected)


def test_history_says_in_words_what_happened(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        session.learn(FRAMES[NEW[0]], "9")
        session.review()
        session.rollback()
        session.forget(label="9")
        entries = session.history()
    kinds = [entry.kind for entry in entries]
    assert kinds == ["install", "promote", "verdict", "rollback", "forget"]
    words: List[str] = [entry.words for entry in entries]
    assert "generation 1 went live: it learnt from 1 sample here. new class 9" in words[1]
    assert "samples of the source" in words[1]
    assert "because a person said so" in words[3]
    assert "forgot label 9: 1 sample; generations that knew them are gone: 1; the factory head is live" in words[4]
    assert entries[1].evidence["policy"] == "guarded"


def leaves(value: Any, path: Tuple[Any, ...] = ()) -> List[Tuple[Any, ...]]:
    """The ways to all that is inside of JSON data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [way for key, one in inner for way in leaves(one, (*path, key))]


def test_a_damaged_entry_of_the_history_hides_no_other_and_is_said(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        session.learn(FRAMES[NEW[0]], "9")
        session.rollback()
        session.forget(label="9")
    database = sqlite3.connect(tmp_path / "state" / "state.sqlite", isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")
    rows = [(number, json.loads(text)) for number, text in database.execute("SELECT id, detail FROM events")]
    ways = [(number, detail, way) for number, detail in rows for way in leaves(detail)]
    assert len(ways) > 50
    damaged = 0
    with guarded(tmp_path / "state", None, read_only=True) as session:
        whole = session.history()
        for number, detail, way in ways:
            for other in (None, -1.5, "x", [], {}):
                changed = copy.deepcopy(detail)
                holder = functools.reduce(operator.getitem, way[:-1], changed)
                if other is None:
                    del holder[way[-1]]
                else:
                    holder[way[-1]] = other
                database.execute("UPDATE events SET detail = ? WHERE id = ?", (json.dumps(changed), number))
                found = session.history()
                damaged += any("entry is damaged" in entry.words for entry in found)
                assert [entry.kind for entry in found] == [entry.kind for entry in whole]
            database.execute("UPDATE events SET detail = ? WHERE id = ?", (json.dumps(detail), number))
        assert session.history() == whole
    database.close()
    assert damaged > 10


def right(session: Any, frames: Any, labels: List[str]) -> int:
    return sum(p.label == label for p, label in zip(session.predict_many(frames), labels))


def test_what_is_better_on_a_new_domain_goes_live_on_evidence(tmp_path: Path) -> None:
    lit = np.maximum(FRAMES, 70)  # a lamp: no pixel is black any more
    shown, rest = OLD[:60], OLD[100:]
    truth = [LABELS[i] for i in rest]
    with guarded(tmp_path / "state") as session:
        before = right(session, lit[rest], truth)
        for i in shown:
            session.learn(lit[i], LABELS[i])
        status = session.status()
        assert status["generation"] >= 1 and status["live_samples"] >= 4
        assert right(session, lit[rest], truth) > before + 0.2 * len(rest)
        promoted = [entry for entry in session.history() if entry.kind == "promote"]
        assert "turn right" in promoted[0].words and "chance of an error" in promoted[0].words
    with guarded(tmp_path / "state", None, read_only=True) as again:
        assert again.predict(lit[0]).generation == status["generation"]


def test_what_turns_out_worse_goes_back_by_itself_and_for_good(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        factory = views(session)
        session.learn_many(FRAMES[OLD[:60]], [wrong(LABELS[i]) for i in OLD[:60]])
        assert session.review().decision == "keep"
        session.review(accept=True)  # a person insists
        assert session.status()["generation"] == 1
        assert not np.array_equal(views(session), factory)
        for i in OLD[60:160]:
            session.learn(FRAMES[i], LABELS[i])
            if session.status()["generation"] != 1:
                break
        assert session.status()["generation"] == 0
        assert np.array_equal(views(session), factory)
        entry = session.history()[-1]
        assert entry.kind == "reversal" and "by itself" in entry.words and "worse than" in entry.words
        with pytest.raises(GenerationError, match="turned out worse"):
            session.rollback(to=1)
    with guarded(tmp_path / "state", None) as again:
        assert np.array_equal(views(again), factory)
        assert again.status()["generations"] == [0]
