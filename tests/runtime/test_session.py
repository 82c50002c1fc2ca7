"""What a session promises: exact, durable, and all or nothing."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from edgetl_runtime.errors import (
    LabelError,
    SampleError,
    StateFullError,
    UnknownSampleError,
)

from tests.runtime import golden
from tests.runtime.golden import close_to, facts, stored, views

FRAMES, LABELS = golden.frames(), golden.labels()
LABELLED = list(zip(FRAMES, LABELS))


# -- exact


def test_one_by_one_and_all_at_once_end_in_the_same_head_also_after_a_restart(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "one") as one, golden.opened(tmp_path / "many") as many:
        for frame, label in LABELLED[:60]:
            one.learn(frame, label)
            if label == "3":
                one.predict(frame)  # reading in between changes nothing
        many.learn_many(FRAMES[:60], LABELS[:60])
        live = views(one)
        assert close_to(live, views(many))
        assert one.status()["classes"] == many.status()["classes"]
    for name in ("one", "many"):
        with golden.opened(tmp_path / name, None) as again:
            assert close_to(views(again), live)


def test_the_order_of_samples_does_not_matter(tmp_path: Path) -> None:
    order = list(range(60))
    results = []
    for seed in range(3):
        random.Random(seed).shuffle(order)
        with golden.opened(tmp_path / str(seed)) as session:
            for start in range(0, 60, 7):
                chosen = order[start : start + 7]
                session.learn_many([FRAMES[i] for i in chosen], [LABELS[i] for i in chosen])
            results.append(views(session))
    assert close_to(results[1], results[0]) and close_to(results[2], results[0])


@pytest.mark.parametrize("which", ["sample", "label", "source"])
def test_forgotten_is_as_if_never_learnt(which: str, tmp_path: Path) -> None:
    def dropped(i: int) -> bool:
        return {"sample": i == 11, "label": LABELS[i] == "9", "source": i % 3 == 1}[which]

    with golden.opened(tmp_path / "never") as never, golden.opened(tmp_path / "forgot") as forgot:
        rest = [i for i in range(50) if not dropped(i)]
        never.learn_many(FRAMES[rest], [LABELS[i] for i in rest])
        ids = [forgot.learn(FRAMES[i], LABELS[i], source=str(i % 3)) for i in range(50)]
        views(forgot)
        what: Dict[str, Any] = {"sample": {"sample_id": ids[11]}, "label": {"label": "9"}, "source": {"source": "1"}}
        assert forgot.forget(**what[which]) == sum(map(dropped, range(50)))
        expected, live = views(never), views(forgot)
        assert np.array_equal(live, expected)  # to the last bit
        assert forgot.status()["classes"] == never.status()["classes"]
        assert forgot.status()["generation"] == 51
    with golden.opened(tmp_path / "forgot") as again:
        assert np.array_equal(views(again), expected)


def test_forgetting_all_gives_the_factory_head_back(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        factory = views(session)
        session.learn_many(FRAMES[:20], LABELS[:20], source="shift 1")
        assert not np.array_equal(views(session)[:, :9], factory[:, :9])
        assert session.forget(source="shift 1") == 20
        assert np.array_equal(views(session), factory)
        assert session.predict(FRAMES[0]).generation == 2


def test_a_class_is_there_after_one_sample(tmp_path: Path) -> None:
    nines = [i for i, label in enumerate(LABELS) if label == "9"]
    with golden.opened(tmp_path / "state") as session:
        assert "9" not in session.predict(FRAMES[nines[0]]).probabilities
        session.learn(FRAMES[nines[0]], "9")
        found = session.predict(FRAMES[nines[0]])
        assert found.label == "9" and found.generation == 1
        assert abs(sum(found.probabilities.values()) - 1.0) < 1e-9
        assert any(session.predict(FRAMES[i]).label == "9" for i in nines[1:])


def test_labels_are_kept_in_one_spelling(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn(FRAMES[0], " cafe\u0301 ", source="left ")
        session.learn(FRAMES[1], "caf\u00e9")
        assert session.status()["classes"]["caf\u00e9"] == {"source": 0, "learnt": 2}
        assert session.forget(source=" left") == 1
        assert session.forget(label="cafe\u0301") == 1


# -- durable

CHILD = """
import json, sys
import numpy as np
from tests.runtime import golden
from tests.runtime.golden import close_to, facts, stored, views
with golden.opened(__import__("pathlib").Path(sys.argv[1]), golden.BUNDLE) as session:
    print("ready", flush=True)
    i = 0
    while True:
        i = (i + 1) % 200
        print(session.learn(golden.frames()[i], golden.labels()[i], source=sys.argv[2]), flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Not a power cut: the page cache outlives the process. What is shown is that nothing waits in memory."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "OMP_NUM_THREADS": "1"}
    acknowledged: List[int] = []
    for run in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "state"), str(run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"ready\n"
            for _ in range(5 + 7 * run):
                acknowledged.append(int(child.stdout.readline()))
        finally:
            child.kill()
        rest, _ = child.communicate()
        acknowledged += [int(line) for line in rest.split(b"\n")[:-1]]  # whole lines only
        assert child.returncode == -signal.SIGKILL
        with golden.opened(tmp_path / "state", None, read_only=True) as session:
            kept = [sample.id for sample in session.samples()]
            assert set(acknowledged) <= set(kept)
            assert len(kept) <= len(acknowledged) + run + 1  # one a run may be durable and not yet said
            assert session.status()["learnt_samples"] == len(kept)
    assert len(acknowledged) == len(set(acknowledged)) > 50


# -- all or nothing


def bad_inputs() -> List[Tuple[str, Any, Any, type]]:
    frame = FRAMES[0]
    return [
        ("no frame", None, "1", SampleError),
        ("a float frame", frame / 255.0, "1", SampleError),
        ("a frame of int64", frame.astype(np.int64), "1", SampleError),
        ("one dimension", frame.ravel(), "1", SampleError),
        ("four dimensions", frame[None, None], "1", SampleError),
        ("two channels", np.dstack([frame, frame]), "1", SampleError),
        ("no pixels", frame[:0], "1", SampleError),
        ("NaN", np.full((8, 8), np.nan), "1", SampleError),
        ("text", "photo.jpg", "1", SampleError),
        ("objects", np.array([[object()]]), "1", SampleError),
        ("ragged", [[1, 2], [3]], "1", SampleError),
        ("no label", frame, None, LabelError),
        ("an empty label", frame, "", LabelError),
        ("a blank label", frame, " \t ", LabelError),
        ("a label of a number", frame, 3, LabelError),
        ("a label of bytes", frame, b"3", LabelError),
        ("a label of 10 kB", frame, "x" * 10_000, LabelError),
        ("a label of two lines", frame, "a\nb", LabelError),
        ("a label of half a character", frame, "\ud800", LabelError),
    ]


@pytest.mark.parametrize(("frame", "label", "error"), [c[1:] for c in bad_inputs()], ids=[c[0] for c in bad_inputs()])
def test_what_cannot_be_learnt_changes_nothing(frame: Any, label: Any, error: type, tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        before, seen, rows = facts(session), views(session), stored(tmp_path / "state")
        with pytest.raises(error) as caught:
            session.learn(frame, label)
        assert len(str(caught.value)) < 400
        with pytest.raises(error):
            session.learn_many([FRAMES[10], frame, FRAMES[11]], ["1", label, "2"])
        assert (facts(session), stored(tmp_path / "state")) == (before, rows)
        assert np.array_equal(views(session), seen)
        assert session.learn(FRAMES[10], LABELS[10]) == 11
    with golden.opened(tmp_path / "state") as again:
        assert again.status()["learnt_samples"] == 11


def test_without_room_nothing_changes_and_with_room_it_goes_on(tmp_path: Path) -> None:
    """SQLite's own limit stands for the disk here; `make bad-input` fills a real one."""
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        connection = session._store.database.connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        learnt = 10
        with pytest.raises(StateFullError, match="free some space"):
            for learnt in range(10, 100):
                before, seen = facts(session), views(session)
                session.learn(FRAMES[learnt], LABELS[learnt])
        assert facts(session) == before
        assert close_to(views(session), seen)
        connection.execute("PRAGMA max_page_count = 100000")
        session.learn(FRAMES[learnt], LABELS[learnt])
        after = views(session)
    with golden.opened(tmp_path / "state") as again:
        assert again.status()["learnt_samples"] == learnt + 1
        assert close_to(views(again), after)


def test_a_bad_source_or_a_wrong_number_of_labels_changes_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        for source in ("x" * 300, "a\nb", 5):
            with pytest.raises(LabelError, match="source"):
                session.learn(FRAMES[0], "1", source=source)  # type: ignore[arg-type]
        for samples, labels in (
            (FRAMES[:2], ["1"]), (FRAMES[:1], ["1", "2"]), (FRAMES[:2], "12"), (FRAMES[:1], None), (None, ["1"]),
        ):  # fmt: skip
            with pytest.raises(LabelError):
                session.learn_many(samples, labels)  # type: ignore[arg-type]
        assert session.learn_many([], []) == []
        assert session.learn_many((frame for frame in FRAMES[:2]), iter(LABELS[:2])) == [1, 2]
        assert session.status()["generation"] == 1


def test_nothing_forgotten_changes_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        before, seen = facts(session), views(session)
        unknown: List[Dict[str, Any]] = [{}, {"sample_id": 11}, {"sample_id": -1}, {"sample_id": 2**80}]
        for what in [*unknown, {"label": "unknown"}, {"source": "x"}]:
            with pytest.raises(UnknownSampleError):
                session.forget(**what)
        assert facts(session) == before
        assert np.array_equal(views(session), seen)


def test_predicting_changes_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn_many(FRAMES[:10], LABELS[:10])
        rows, before = stored(tmp_path / "state"), facts(session)
        frame = FRAMES[50].copy()
        first = session.predict(frame)
        for bad in (None, frame / 255.0):
            with pytest.raises(SampleError):
                session.predict(bad)
        assert session.features(frame).shape == (session.status()["dim"],)
        assert np.array_equal(frame, FRAMES[50])
        again = session.predict(frame)
        assert dataclasses.replace(again, latency_ms=first.latency_ms) == first
        assert (stored(tmp_path / "state"), facts(session)) == (rows, before)
