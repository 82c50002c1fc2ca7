"""The live head is a generation: it answers the same for ever, goes forward on evidence and back at any time."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
from edgetl_runtime.errors import GenerationError, StateError, UnknownSampleError
from edgetl_runtime.session import Session

from tests.runtime import golden
from tests.runtime.golden import close_to, views

FRAMES, LABELS = golden.frames(), golden.labels()


def learnt_in_steps(session: Session, steps: int = 4, size: int = 10) -> Dict[int, Any]:
    """What each generation answers, from 0 on."""
    answers = {0: views(session)}
    for step in range(steps):
        part = slice(step * size, step * size + size)
        session.learn_many(FRAMES[part], LABELS[part])
        answers[session.status()["generation"]] = views(session)
    return answers


def run_sql(state: Path, *statements: str) -> None:
    connection = sqlite3.connect(str(state / "state.sqlite"), isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# -- back and forth


def test_every_generation_answers_bit_for_bit_as_it_did_when_it_is_made_live_again(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        answers = learnt_in_steps(session)
        assert sorted(answers) == [0, 1, 2, 3, 4]
        for number in (2, 4, 0, 1, 3):
            assert session.rollback(to=number) == number
            assert session.predict(FRAMES[0]).generation == number
            assert np.array_equal(views(session), answers[number])
    with golden.opened(tmp_path / "state", None) as again:  # a move is durable
        assert np.array_equal(views(again), answers[3])
        assert again.status()["generations"] == [0, 1, 2, 3, 4]


def test_going_back_again_and_again_ends_at_the_factory_head(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        answers = learnt_in_steps(session, 3)
        assert [session.rollback() for _ in range(3)] == [2, 1, 0]
        assert np.array_equal(views(session), answers[0])
        with pytest.raises(GenerationError, match="nothing before it"):
            session.rollback()
        assert session.status()["learnt_samples"] == 30  # what was learnt is kept
        assert session.status()["waiting_samples"] == 30
        session.learn(FRAMES[50], LABELS[50])
        assert session.predict(FRAMES[0]).generation == 4  # a number is never given twice


def test_what_may_not_go_live_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        answers = learnt_in_steps(session)
    run_sql(state, "UPDATE generations SET head = zeroblob(length(head)) WHERE number = 2")
    with golden.opened(state, None) as session:
        refused = {4: "live already", 99: "is not there", -1: "is not there", 2: "cannot be made live"}
        for number, words in refused.items():
            with pytest.raises(GenerationError, match=words):
                session.rollback(to=number)
        assert np.array_equal(views(session), answers[4])
        assert session.status()["generations"] == [0, 1, 3, 4]
        assert session.rollback() == 3
        assert session.rollback() == 1  # the damaged one is passed by
    with golden.opened(state, None, read_only=True) as reader:
        for action in (reader.rollback, reader.review):
            with pytest.raises(StateError, match="read_only"):
                action()


def test_a_reader_follows_when_it_is_told_to(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as writer:
        answers = learnt_in_steps(writer, 2)
        with golden.opened(tmp_path / "state", None, read_only=True) as reader:
            assert not reader.refresh()
            writer.rollback(to=1)
            assert np.array_equal(views(reader), answers[2])
            assert reader.refresh() and not reader.refresh()
            assert np.array_equal(views(reader), answers[1])


def test_no_answer_mixes_two_generations_while_they_change(tmp_path: Path) -> None:
    """Every answer is, to the last bit, the one that its generation gives when nothing changes."""
    probe = FRAMES[-1]
    with golden.opened(tmp_path / "state") as session:
        expected: Dict[int, Any] = {}
        for step in range(4):
            session.learn_many(FRAMES[step * 10 : step * 10 + 10], LABELS[step * 10 : step * 10 + 10])
            answer = session.predict(probe)
            expected[answer.generation] = (answer.label, answer.probabilities, answer.outlier)
        found: List[Any] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                found.append(session.predict(probe))

        threads = [threading.Thread(target=watch) for _ in range(3)]
        for thread in threads:
            thread.start()
        for i in range(60):
            session.rollback(to=1 + (i + 1) % 4 if session.status()["generation"] != 1 + (i + 1) % 4 else 1)
        stop.set()
        for thread in threads:
            thread.join()
    assert len({answer.generation for answer in found}) > 1
    assert all((a.label, a.probabilities, a.outlier) == expected[a.generation] for a in found)


def test_a_session_does_not_survive_a_fork_and_the_parent_keeps_it(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn(FRAMES[0], "1")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for action in (lambda: session.predict(FRAMES[0]), lambda: session.learn(FRAMES[1], "1")):
                    try:
                        action()
                    except StateError as error:
                        assert "does not survive a fork" in str(error)
                    else:
                        raise AssertionError("a forked session went on")
                session.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert session.learn(FRAMES[1], "1") == 2


def test_a_child_that_outlives_the_writer_does_not_hold_its_lock(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    alive, says_so = os.pipe()
    session = golden.opened(tmp_path / "state")
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.write(says_so, b".")
        os.read(reading, 1)  # until the test ends
        os._exit(0)
    try:
        os.read(alive, 1)  # it lets go of the lock as it begins, which on a busy machine takes a while
        session.close()
        golden.opened(tmp_path / "state").close()
    finally:
        for descriptor in (reading, writing, alive, says_so):
            os.close(descriptor)
        os.waitpid(child, 0)


# -- forgetting reaches back


def test_no_way_leads_back_to_a_generation_that_knew_what_is_forgotten(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session, golden.opened(tmp_path / "never") as never:
        answers = learnt_in_steps(session, 2)
        secret = session.learn(FRAMES[20], "face of a person")
        session.learn_many(FRAMES[21:30], LABELS[21:30])
        held = dict(session._store.database.query("SELECT number, head FROM generations"))
        assert session.forget(secret) == 1
        never.learn_many(np.concatenate([FRAMES[:20], FRAMES[21:30]]), LABELS[:20] + LABELS[21:30])
        assert close_to(views(session), views(never))
        assert session.status()["generations"] == [0, 1, 2, 5]
        assert "generations that knew them are gone: 4, 3" in session.history()[-1].words.replace("3, 4", "4, 3")
        assert session.rollback() == 2
        assert np.array_equal(views(session), answers[2])
    data = b"".join(path.read_bytes() for path in (tmp_path / "state").glob("state.sqlite*"))
    assert held[2][-400:] in data
    assert held[3][-400:] not in data and held[4][-400:] not in data


def test_forgetting_what_is_not_live_moves_nothing(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        answers = learnt_in_steps(session, 2)
        session.rollback(to=1)
        assert session.forget(15) == 1  # generation 2 knew it, 1 did not
        assert np.array_equal(views(session), answers[1])
        assert session.status()["generations"] == [0, 1]
        with pytest.raises(UnknownSampleError):
            session.forget(15)
        session.learn(FRAMES[20], LABELS[20])
        with golden.opened(tmp_path / "never") as never:
            never.learn_many(np.delete(FRAMES[:21], 14, 0), LABELS[:14] + LABELS[15:21])
            assert close_to(views(session), views(never))


# -- starts


def test_a_damaged_generation_is_set_aside_and_the_one_before_serves(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        answers = learnt_in_steps(session)
    cases: List[Tuple[str, int]] = [
        ("UPDATE generations SET head = zeroblob(length(head)) WHERE number = 4", 3),
        ("UPDATE generations SET upto = 7 WHERE number = 3", 2),
        ("UPDATE generations SET sha256 = zeroblob(32) WHERE number = 2", 1),
        ("UPDATE generations SET head = x'00' WHERE number = 1", 0),
    ]
    for number, (damage, serves) in enumerate(cases, 1):
        run_sql(state, damage)
        with golden.opened(state, None, read_only=True) as reader:
            assert np.array_equal(views(reader), answers[serves])
        with golden.opened(state, None) as session:
            assert np.array_equal(views(session), answers[serves])
            assert session.status()["quarantined"] == number
            assert "is damaged" in session.status()["recovered"]
            assert "recovered at a start" in session.history()[-1].words
        with golden.opened(state, None) as session:
            assert "is damaged" in session.status()["recovered"]  # until something moves
            assert np.array_equal(views(session), answers[serves])
    with golden.opened(state, None) as session:
        assert session.status()["learnt_samples"] == 40
        session.review()
        assert close_to(views(session), answers[4])
        assert session.status()["recovered"] is None


@pytest.mark.parametrize(
    "damage", ["UPDATE pointer SET active = 2", "DELETE FROM pointer", "UPDATE pointer SET starts = 9"]
)
def test_a_damaged_pointer_is_not_believed(damage: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        answers = learnt_in_steps(session)
    run_sql(state, damage)
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), answers[4])
        assert "newest good one serves" in session.status()["recovered"]
        session.learn(FRAMES[60], LABELS[60])
        assert session.status()["generation"] == 5


def test_three_starts_without_an_answer_end_in_the_factory_head(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        answers = learnt_in_steps(session, 2)

    def failed_start() -> None:
        with pytest.raises(ZeroDivisionError), golden.opened(state, None) as session:
            assert session.status()["generation"] == 2
            raise ZeroDivisionError("the program that uses it")

    for _ in range(2):
        failed_start()
    with golden.opened(state, None) as session:
        assert session.status()["unconfirmed_starts"] == 3
        session.predict(FRAMES[0])  # one answer, and the count begins anew
    for _ in range(3):
        failed_start()
    with golden.opened(state, None) as session:
        assert "the factory head serves" in session.status()["recovered"]
        assert np.array_equal(views(session), answers[0])
        assert session.rollback(to=2) == 2  # it may not have been the head's fault
    with golden.opened(state, None) as session:
        assert np.array_equal(views(session), answers[2])


def test_starts_that_ended_well_without_predicting_are_no_failures(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        learnt_in_steps(session, 2)
    for i in range(5):
        with golden.opened(state, None) as session:
            assert session.status()["unconfirmed_starts"] == 1
            if i % 2:
                session.confirm()
                assert session.status()["unconfirmed_starts"] == 0
    with golden.opened(state, None) as session:
        assert session.status()["generation"] == 2


def test_the_number_of_generations_is_bounded_and_the_live_one_stays(tmp_path: Path) -> None:
    with golden.opened(tmp_path / "state") as session:
        session.learn(FRAMES[0], LABELS[0])
        early = views(session)
        for i in range(1, 50):
            session.learn(FRAMES[i], LABELS[i])
        assert len(session.status()["generations"]) == 33
        oldest = session.status()["generations"][1]
        session.rollback(to=oldest)
        for i in range(50, 100):
            session.learn(FRAMES[i], LABELS[i])
            session.rollback(to=oldest)
        assert oldest in session.status()["generations"]
        assert not np.array_equal(views(session), early)
