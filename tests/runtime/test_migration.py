"""A state of version 1 becomes one of version 2 in one step that may be cut anywhere, and answers as it did."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.store import open_store, schema

from tests.runtime import golden
from tests.runtime.golden import close_to, views

FRAMES, LABELS = golden.frames(), golden.labels()


def version_of(path: Path) -> int:
    connection = sqlite3.connect(str(path))
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_what_was_live_stays_live_and_going_on_is_as_if_it_had_always_been_so(tmp_path: Path) -> None:
    with golden.opened(golden.golden_state(tmp_path / "state")) as session:
        assert [p.label for p in session.predict_many(FRAMES)] == golden.answers()["predictions"]
        assert (session.status()["generation"], session.status()["generations"]) == (2, [0, 2])
        assert session.status()["live_samples"] == session.status()["learnt_samples"] == 39
        seen = views(session)
        session.learn(FRAMES[0], LABELS[0])
        assert session.predict(FRAMES[0]).generation == 3
        session.rollback()
        assert np.array_equal(views(session), seen)
        assert session.rollback() == 0
    with golden.opened(tmp_path / "state", None) as session:
        assert session.rollback(to=2) == 2
        assert np.array_equal(views(session), seen)
        before = session.samples()
        assert session.forget(before[0].id) == 1


def test_a_reader_of_an_old_state_answers_and_changes_nothing(tmp_path: Path) -> None:
    state = golden.golden_state(tmp_path / "state")
    golden.opened(state).close()  # puts the bundle there
    (state / "state.sqlite").unlink()
    (state / "state.sqlite").write_bytes((golden.GOLDEN / "state-1.sqlite").read_bytes())
    with golden.opened(state, golden.BUNDLE, read_only=True) as reader:
        assert [p.label for p in reader.predict_many(FRAMES)] == golden.answers()["predictions"]
        assert reader.status()["learnt_samples"] == 39
        assert not reader.refresh()
    assert (state / "state.sqlite").read_bytes() == (golden.GOLDEN / "state-1.sqlite").read_bytes()


def test_a_migration_that_stops_at_any_statement_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = golden.golden_state(tmp_path / "state")
    whole = (folder / "state.sqlite").read_bytes()
    statements: List[str] = []

    class Stopped(Exception):
        pass

    class Connection:
        """A connection that stops before its n-th statement."""

        def __init__(self, inner: sqlite3.Connection, most: int) -> None:
            self.inner, self.left = inner, most

        def execute(self, sql: str, *values: Any) -> Any:
            if self.left == 0 and sql != "ROLLBACK":
                raise Stopped(sql)
            self.left -= 1
            statements.append(sql)
            return self.inner.execute(sql, *values)

    original = schema.create_or_migrate
    for most in range(60):
        monkeypatch.setattr(
            "edgetl_runtime.store.opening.create_or_migrate",
            lambda inner, version, most=most: original(Connection(inner, most), version),
        )
        try:
            open_store(folder).close()
        except Stopped:
            assert version_of(folder / "state.sqlite") == 1
            continue
        break
    assert most > 10
    assert version_of(folder / "state.sqlite") == 2
    assert len(whole) > 0 and statements[-1] == "COMMIT"
    monkeypatch.undo()
    with golden.opened(folder) as session:
        assert [p.label for p in session.predict_many(FRAMES)] == golden.answers()["predictions"]


def test_a_damaged_row_of_an_old_state_is_left_out_of_the_head_and_set_aside(tmp_path: Path) -> None:
    folder = golden.golden_state(tmp_path / "state")
    connection = sqlite3.connect(str(folder / "state.sqlite"), isolation_level=None)
    rows = connection.execute("SELECT id FROM samples ORDER BY id").fetchall()
    connection.execute("UPDATE samples SET label = 'x' WHERE id = ?", rows[5])
    connection.close()
    with golden.opened(folder) as session:
        assert session.status()["quarantined"] == 1
        assert session.status()["live_samples"] == 38
        seen = views(session)
    with golden.opened(folder, None) as session:
        assert np.array_equal(views(session), seen)


def test_rows_of_the_old_version_and_of_the_new_one_stand_side_by_side(tmp_path: Path) -> None:
    folder = golden.golden_state(tmp_path / "state")
    with golden.opened(folder) as session:
        session.learn(FRAMES[0], LABELS[0], source="new")
        seen = views(session)
        assert session.forget(source="new") == 1
        session.learn(FRAMES[0], LABELS[0])
        assert close_to(views(session), seen)
    connection = sqlite3.connect(str(folder / "state.sqlite"), isolation_level=None)
    # The role of an old row is no part of its old hash, and must not be believed.
    connection.execute("UPDATE samples SET role = 'guard' WHERE id = (SELECT MIN(id) FROM samples)")
    connection.close()
    with golden.opened(folder, None) as session:
        session.learn(FRAMES[1], LABELS[1])
        assert session.status()["quarantined"] == 1
