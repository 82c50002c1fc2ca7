"""In a session that judges, what is learnt keeps the factory head for what looks like its own samples: exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Sequence

import numpy as np
import pytest
from edgetl_runtime.bundle.members import HeadMember, read_guard, read_head
from edgetl_runtime.heads import AnchoredHead, fit_head
from edgetl_runtime.learner import Learner
from edgetl_runtime.merging import merge_states
from edgetl_runtime.statistics import Statistics

from tests.runtime import golden
from tests.runtime.golden import close_to, views
from tests.runtime.head_members import HEAD_NAMES, digits, member

FRAMES, LABELS = golden.frames(), golden.labels()
# Another domain: the same digits by a camera that is mounted the wrong way round.
TURNED = np.ascontiguousarray(FRAMES.transpose(0, 2, 1))
OLD = [i for i, label in enumerate(LABELS) if label != "9"]
SHOWN, REST = OLD[:40], OLD[100:]
VARIANT = golden.bundle().manifest.variants[0]
MEMBER, GUARD = read_head(golden.bundle(), VARIANT), read_guard(golden.bundle(), VARIANT)


def guarded(state: Path, *arguments: Any, **options: Any) -> Any:
    return golden.opened(state, *arguments, policy=options.pop("policy", "guarded"), **options)


def right(session: Any, frames: Any, rows: Sequence[int] = REST) -> int:
    return sum(p.label == LABELS[i] for i, p in zip(rows, session.predict_many(frames[list(rows)])))


def teach(session: Any, rows: Sequence[int], source: str = "") -> None:
    session.learn_many(TURNED[list(rows)], [LABELS[i] for i in rows], source=source)


def head_of(session: Any) -> Any:
    return session._lineage.live.fitted.head


def fitted(session: Any, chosen: Sequence[Any], shipped: HeadMember = MEMBER, guard: Any = GUARD) -> AnchoredHead:
    """The head of a learner that met those stored samples at once, in another order; OLD in order was shown."""
    learner = Learner(shipped, guard)
    rows = [OLD[sample.id - 1] for sample in reversed(chosen) if sample.role == "train"]
    learner.add(np.stack([session.features(TURNED[i]) for i in rows]), [LABELS[i] for i in rows])
    head = learner.fit().head
    assert isinstance(head, AnchoredHead)
    return head


def asked(session: Any) -> Any:
    return np.stack([session.features(frame) for frame in [*TURNED[REST[:40]], *FRAMES[REST[:40]]]])


def known(session: Any) -> List[Any]:
    """The samples that the live head learnt from."""
    return [sample for sample in session.samples() if sample.id <= session._lineage.live.upto]


def same(session: Any, head: Any) -> bool:
    rows = asked(session)
    return close_to(head_of(session).predict_proba(rows), head.predict_proba(rows))


def test_a_new_domain_goes_live_by_itself_and_the_old_one_is_kept(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        old, new = right(session, FRAMES), right(session, TURNED)
        for i in SHOWN:
            session.learn(TURNED[i], LABELS[i])
        assert right(session, FRAMES) >= old - 1
        assert right(session, TURNED) >= new + 0.4 * len(REST)
        status, seen = session.status(), views(session)
        assert status["live_head"].startswith("anchored slda")
        words = next(entry.words for entry in session.history() if entry.kind == "promote")
        assert "the factory head goes on answering what looks like its own" in words.lower()
        assert same(session, fitted(session, known(session)))
    with guarded(tmp_path / "state", None, read_only=True) as again:
        assert np.array_equal(views(again), seen) and again.status()["live_head"] == status["live_head"]


def test_labels_that_are_all_wrong_never_go_live(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        before = views(session)
        session.learn_many(FRAMES[SHOWN], [str((int(LABELS[i]) + 1) % 9) for i in SHOWN])
        assert session.review().decision == "keep"
        assert session.status()["live_head"] == "the factory head" and np.array_equal(views(session), before)


def test_what_is_forgotten_is_gone_exactly_and_the_head_stays_of_its_kind(tmp_path: Path) -> None:
    with guarded(tmp_path / "state") as session:
        teach(session, OLD[:20], "one")
        teach(session, OLD[20:40], "other")
        assert session.review(accept=True).decision in ("promote", "keep")
        session.forget(source="one")
        assert isinstance(head_of(session), AnchoredHead)
        assert same(session, fitted(session, known(session)))
        session.forget(source="other")
        assert head_of(session).state().keys() == MEMBER.factory.state().keys()


def test_two_devices_merged_are_one_that_met_all_samples(tmp_path: Path) -> None:
    taught = []
    for name, rows in (("one", OLD[:30]), ("two", OLD[30:60])):
        with guarded(tmp_path / name) as session:
            teach(session, rows)
            assert session.review(accept=True).decision in ("promote", "keep")
            assert isinstance(head_of(session), AnchoredHead)
            taught += [rows[s.id - 1] for s in known(session) if s.role == "train"]
    merge_states([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    with guarded(tmp_path / "both", None) as both:
        learner = Learner(MEMBER, GUARD)
        learner.add(np.stack([both.features(TURNED[i]) for i in taught[::-1]]), [LABELS[i] for i in taught[::-1]])
        assert isinstance(head_of(both), AnchoredHead) and same(both, learner.fit().head)


def test_an_update_of_the_head_anchors_to_the_new_factory_head(tmp_path: Path) -> None:
    options = {**MEMBER.options, "n0": 2.0, "shrinkage": 0.2}
    empty = Statistics(MEMBER.source.dim, MEMBER.source.shift, MEMBER.source.feature_space)
    other = HeadMember(MEMBER.source, "slda", options, fit_head("slda", empty, MEMBER.source, **options))
    update = golden.changed_bundle(tmp_path / "update.edgetl", {VARIANT.head: other.pack()})
    with guarded(tmp_path / "state") as session:
        teach(session, SHOWN)
        assert session.review(accept=True).decision in ("promote", "keep")
    with guarded(tmp_path / "state", update) as session:
        assert same(session, fitted(session, known(session), other))


def test_a_state_of_before_answers_as_it_did_and_goes_on_as_it_was(tmp_path: Path) -> None:
    state = golden.golden_state(tmp_path / "state")
    with golden.opened(state) as session:
        expected = views(session)
    with guarded(state) as session:
        assert np.array_equal(views(session), expected)
        assert session.status()["live_head"] == "slda of the source and the learnt"


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_only_a_discriminant_is_anchored_the_other_heads_are_what_they_were(name: str) -> None:
    features, labels = digits()
    shipped = member(name, features[:80], labels[:80])
    with_guard, without = Learner(shipped, GUARD), Learner(shipped)
    for learner in (with_guard, without):
        learner.add(features[80:150], labels[80:150])
    assert with_guard.fit().anchored == (name == "slda")
    assert not without.fit().anchored
    decisions = [learner.fit().head.decision(features[150:]) for learner in (with_guard, without)]
    assert name == "slda" or np.array_equal(*decisions)


def test_in_any_order_over_any_parts_and_less_what_was_added_it_is_the_same_head() -> None:
    rows = np.stack([frame.ravel() for frame in TURNED]).astype(np.float32) / 16.0
    parts = []
    for order in (OLD[:60], OLD[:60][::-1]):
        learner = Learner(MEMBER, GUARD)
        learner.add(rows[order], [LABELS[i] for i in order])
        parts.append(learner.fit())
    half, rest = Learner(MEMBER, GUARD), Learner(MEMBER, GUARD)
    half.add(rows[OLD[:30]], [LABELS[i] for i in OLD[:30]])
    rest.add(rows[OLD[30:60]], [LABELS[i] for i in OLD[30:60]])
    half.add_sums(rest.sums())
    parts.append(half.fit())
    probe = rows[OLD[60:]]
    for one in parts[1:]:
        assert one.anchored and close_to(one.head.predict_proba(probe), parts[0].head.predict_proba(probe))
        assert close_to(one.outlier(probe), parts[0].outlier(probe))
