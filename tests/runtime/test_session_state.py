"""A session beside others, on the wrong state and on a damaged one: it says so, and goes on where it can."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.errors import (
    EdgetlError,
    EngineError,
    StateBusyError,
    StateError,
    StateMismatchError,
)

from tests.runtime import golden
from tests.runtime.golden import close_to, stored, views

FRAMES, LABELS = golden.frames(), golden.labels()
LABELLED = list(zip(FRAMES, LABELS))


# -- beside others


def test_a_reader_answers_from_one_generation_beside_a_writer(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as writer:
        writer.learn_many(FRAMES[:20], LABELS[:20])
        seen = views(writer)
        with golden.opened(tmp_path / "state", None, read_only=True) as reader:
            writer.learn_many(FRAMES[20:40], LABELS[20:40])
            assert np.array_equal(views(reader), seen)
            assert (reader.status()["generation"], reader.status()["live_samples"]) == (1, 20)
            with pytest.raises(StateError, match="read_only"):
                reader.learn(FRAMES[0], "1")
            with pytest.raises(StateError, match="read_only"):
                reader.forget(label="1")
        with golden.opened(tmp_path / "state", None, read_only=True) as reader:
            assert close_to(views(reader), views(writer))
            assert reader.status()["generation"] == 2


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as first:
        first.learn(FRAMES[0], "1")
        with pytest.raises(StateBusyError):
            golden.opened(tmp_path / "state")
        first.learn(FRAMES[1], "1")
    with golden.opened(tmp_path / "state") as second:
        assert second.status()["learnt_samples"] == 2


def test_each_answer_belongs_to_one_generation_while_another_thread_learns(tmp_path: Path) -> None:
    """The probe's answer in each generation is known from a session that nobody disturbs."""
    probe = FRAMES[-1]
    expected = {}
    with golden.opened(tmp_path / "quiet") as quiet:
        for i in range(31):
            answer = quiet.predict(probe)
            expected[answer.generation] = answer.probabilities
            quiet.learn(FRAMES[i], LABELS[i] if i % 5 else f"new {i}")
    found: List[Any] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            found.append(session.predict(probe))
            session.status()

    with golden.opened(tmp_path / "busy") as session:
        threads = [threading.Thread(target=watch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for i in range(30):
            session.learn(FRAMES[i], LABELS[i] if i % 5 else f"new {i}")
        stop.set()
        for thread in threads:
            thread.join()
        found.append(session.predict(probe))
    assert len({answer.generation for answer in found}) > 5
    for answer in found:
        right = expected[answer.generation]
        assert set(answer.probabilities) == set(right)
        assert max(abs(answer.probabilities[c] - right[c]) for c in right) < 1e-9
        assert answer.label == max(right, key=lambda c: answer.probabilities[c])


def test_threads_may_learn_together_and_nothing_is_lost(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        threads = [
            threading.Thread(target=lambda start=start: [session.learn(*LABELLED[i]) for i in range(start, 40, 4)])  # type: ignore[misc]
            for start in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together = views(session)
        assert session.status()["generation"] == 40
        assert [sample.id for sample in session.samples()] == list(range(1, 41))
    with golden.opened(tmp_path / "again") as again:
        again.learn_many(FRAMES[:40], LABELS[:40])
        assert close_to(together, views(again))


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    session = golden.opened(tmp_path / "state")
    session.close()
    session.close()
    with pytest.raises(EngineError):
        session.predict(FRAMES[0])
    with pytest.raises(EdgetlError):
        session.learn(FRAMES[0], "1")


# -- the wrong state, and damage


def test_a_state_of_other_features_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    other = golden.other_space(tmp_path / "other.edgetl", golden.bundle().manifest.name)
    with golden.opened(tmp_path / "elsewhere", other) as session:
        assert session.learn(FRAMES[0], "1") == 1  # it is a whole bundle
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen = views(session)
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    for read_only in (False, True):
        with pytest.raises(StateMismatchError, match="another bundle" if read_only else "other features"):
            golden.opened(state, other, read_only=read_only)
    rows = stored(state)
    files = {path for path in state.rglob("*") if path.is_file() and path.name[-4:] not in ("-wal", "-shm")}
    assert files == set(before)
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), seen)
    assert stored(state) == rows


def test_a_new_release_with_the_same_extractor_keeps_what_was_learnt(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen, old = views(session), session.status()["bundle"]["id"]
    release = golden.changed_bundle(tmp_path / "2.edgetl", sequence=2)
    with golden.opened(state, release) as session:
        assert np.array_equal(views(session), seen)
    with golden.opened(state, None) as session:
        assert session.status()["bundle"]["id"] not in ("", old)
        assert session.status()["learnt_samples"] == 20


def test_a_damaged_row_changes_no_answer_and_costs_later_heads_that_row_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session, golden.opened(tmp_path / "without") as without:
        session.learn_many(FRAMES[:20], LABELS[:20])
        before = views(session)
        without.learn_many(np.delete(FRAMES[:21], 4, 0), LABELS[:4] + LABELS[5:21])
        expected = views(without)
    connection = sqlite3.connect(str(state / "state.sqlite"), isolation_level=None)
    connection.execute("UPDATE samples SET features = zeroblob(length(features)) WHERE id = 5")
    connection.close()
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), before)
        assert session.learn(FRAMES[20], LABELS[20]) == 21
        assert close_to(views(session), expected)
        assert session.status()["quarantined"] == 1
        assert session.predict(FRAMES[0]).generation == 2
    assert "sample 5" in caplog.text


def test_rubbish_instead_of_the_state_ends_in_the_factory_head_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        factory = views(session)
        session.learn_many(FRAMES[:20], LABELS[:20])
    for content in (b"rubbish" * 1000, b""):
        for path in state.glob("state.sqlite*"):
            path.unlink()
        (state / "state.sqlite").write_bytes(content)
        caplog.clear()
        with golden.opened(state, None) as session:  # not even the name of the bundle is known any more
            assert np.array_equal(views(session), factory)
            assert session.status()["kept_aside"] == ["state.sqlite.corrupt-1"]
            assert session.learn(FRAMES[0], "1") == 1
        assert any(record.levelno == logging.ERROR and "kept as" in record.message for record in caplog.records)
        assert (state / "state.sqlite.corrupt-1").read_bytes() == content


def test_a_cut_through_the_state_keeps_what_can_be_read(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        for frame, label in LABELLED:
            session.learn(frame, label)
    whole = (state / "state.sqlite").read_bytes()
    (state / "state.sqlite").write_bytes(whole[: len(whole) * 3 // 4 // 4096 * 4096])
    with golden.opened(state, None) as session:
        learnt = session.status()["learnt_samples"]
        assert 50 < learnt <= 200
        assert session.predict(FRAMES[0]).generation > 0


def test_the_state_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    state = golden.golden_state(tmp_path / "state")
    connection = sqlite3.connect(str(state / "state.sqlite"))
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    before = (state / "state.sqlite").read_bytes()
    with pytest.raises(StateError, match="upgrade edgetl-runtime"):
        golden.opened(state)
    assert (state / "state.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_made_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="state folder"):
        golden.opened(tmp_path / "file" / "state")
    with pytest.raises(StateError, match="no state to read"):
        golden.opened(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    with pytest.raises(StateError, match="no state folder"):
        golden.opened(tmp_path / "fresh", None)
    assert not (tmp_path / "fresh").exists()
    (tmp_path / "fresh").mkdir()
    with pytest.raises(StateError, match="no bundle is installed"):
        golden.opened(tmp_path / "fresh", None)


def test_a_state_on_a_disk_mounted_read_only_is_read(tmp_path: Path) -> None:
    """Root may write where nobody else may, so the disk itself is made read-only, in a namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        expected = [p.label for p in session.predict_many(FRAMES[:30])]
    code = (
        "import json, sys; from pathlib import Path; from tests.runtime import golden\n"
        "from edgetl_runtime.errors import StateError\n"
        "with golden.opened(Path(sys.argv[1]), None, read_only=True) as s:\n"
        "    print(json.dumps([p.label for p in s.predict_many(golden.frames()[:30])]))\n"
        "try:\n"
        "    golden.opened(Path(sys.argv[1]), None)\n"
        "except StateError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" -c "$2" "$1"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, str(state), code],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        check=False,
    )
    if b"Operation not permitted" in done.stderr or b"unshare failed" in done.stderr:
        pytest.skip("no namespaces for this user: " + done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()
    answers, refusal = done.stdout.decode().splitlines()
    assert json.loads(answers) == expected
    assert "Read-only file system" in refusal
