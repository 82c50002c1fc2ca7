"""A state folder that an attacker wrote, every row with its right hash: it poisons no merge, and holds up none."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest
from edgetl_runtime.bundle.tensors import pack_tensors
from edgetl_runtime.errors import StateError
from edgetl_runtime.merging import merge_states
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.store.schema import TABLES, seal

from tests.runtime import golden

VARIANT = golden.bundle().manifest.variants[0]
Change = Callable[[sqlite3.Connection], object]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Tuple[Path, Path]:
    found = []
    for number, name in enumerate(("own", "foreign")):
        found.append(tmp_path_factory.mktemp("states") / name)
        with golden.opened(found[-1]) as session:
            part = slice(20 * number, 20 * number + 20)
            session.learn_many(golden.frames()[part], golden.labels()[part], source=name)
    return found[0], found[1]


def copied(foreign: Path, tmp_path: Path, change: Change) -> Path:
    evil = Path(shutil.copytree(str(foreign), str(tmp_path / "evil")))
    connection = sqlite3.connect(str(evil / "state.sqlite"), isolation_level=None)
    change(connection)
    connection.close()
    return evil


def sample(**changes: Any) -> Change:
    """The first sample with other values, and the hash that fits them."""

    def change(connection: sqlite3.Connection) -> None:
        names = TABLES["samples"]
        row = dict(zip(names, connection.execute(f"SELECT {', '.join(names)} FROM samples ORDER BY id").fetchone()))
        row.update(changes)
        row["sha256"] = seal("samples", [row[n] for n in (*names[:6], "role", "trial", "mono_s")])
        marks = ", ".join("?" * len(names))
        connection.execute(f"INSERT OR REPLACE INTO samples ({', '.join(names)}) VALUES ({marks})", list(row.values()))

    return change


def run(*statements: str) -> Change:
    return lambda connection: [connection.execute(one) for one in statements]


def folded(count: int, labels: str, name: str = "learnt", label: str = "1", state: bytes = b"") -> Change:
    """A sum of three samples of `label`, which says that it is of `count`, by those labels."""
    learnt = Statistics(VARIANT.dim, np.zeros(VARIANT.dim), VARIANT.feature_space)
    learnt.add(np.ones((3, VARIANT.dim), np.float32), [label] * 3)
    arrays = {f"{name}.{key}": value for key, value in learnt.state().items()}
    data = state or pack_tensors(arrays, {name: [False, learnt.metadata()]})
    row = (1, 3, count, labels, '["x"]', VARIANT.feature_space, data)

    def change(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal("statistics", row)))

    return change


ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT"
COLUMNS = ", ".join(f"n AS {name}" for name in TABLES["samples"])
ATTACKS: Dict[str, Change] = {
    "features of NaN": sample(features=np.full(VARIANT.dim, np.nan, "<f4").tobytes()),
    "features of 1e38": sample(features=np.full(VARIANT.dim, 1e38, "<f4").tobytes()),
    "an empty label": sample(label=""),
    "a label that a terminal obeys": sample(label="cup\x1b[2J"),
    "a label of a megabyte": sample(label="x" * 1_000_000),
    "a source that a terminal obeys": sample(source="\x1b]0;x\x07"),
    "samples without end": run("DROP TABLE samples", f"CREATE VIEW samples AS {ENDLESS} {COLUMNS} FROM c"),
    "facts without end": run("DROP TABLE meta", f"CREATE VIEW meta AS {ENDLESS} n AS key, n AS value FROM c"),
    "a constraint that fills the memory": run(
        "DROP TABLE events",
        "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL, kind TEXT NOT NULL,"
        " detail TEXT NOT NULL, wall_s REAL NOT NULL CHECK (length(hex(zeroblob(900000000))) > 0))",
    ),
    "a trigger": run("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM samples; END"),
    "a virtual table": run("CREATE VIRTUAL TABLE more USING fts4(x)"),
    "seventy tables": run(*(f"CREATE TABLE t{i} (x)" for i in range(70))),
    "a sum that is no tensors": folded(3, '{"1": 3}', state=b"rubbish"),
    "a sum of more samples than it says": folded(5, '{"1": 5}'),
    "a sum of other labels than it says": folded(3, '{"1": 4}'),
    "a sum of another head": folded(3, '{"1": 3}', name="stored"),
    "a sum with a label that a terminal obeys": folded(3, json.dumps({"\x1b[2J": 3}), label="\x1b[2J"),
    "a version that is none": run("PRAGMA user_version = 77"),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_what_no_device_writes_is_not_merged_and_nothing_is_left(
    name: str, states: Tuple[Path, Path], tmp_path: Path
) -> None:
    own, foreign = states
    evil = copied(foreign, tmp_path, ATTACKS[name])
    with pytest.raises(StateError) as caught:
        merge_states([own, evil], tmp_path / "fleet")
    assert str(evil) in str(caught.value) and "\x1b" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != "evil"] in ([], ["fleet"])
    assert not any((tmp_path / "fleet").glob("*"))


@pytest.mark.parametrize("count", [10**18, "many"])
def test_a_sum_that_counts_what_cannot_be_counted_is_no_sum(
    count: Any, states: Tuple[Path, Path], tmp_path: Path
) -> None:
    own, foreign = states
    evil = copied(foreign, tmp_path, folded(count, '{"1": 3}'))
    assert merge_states([own, evil], tmp_path / "fleet") == {str(own): 20, str(evil): 20}


@pytest.mark.parametrize("kind", ["a pipe", "an endless file", "not a number", "facts without end"])
def test_files_around_a_state_hold_up_no_merge(kind: str, states: Tuple[Path, Path], tmp_path: Path) -> None:
    own, foreign = states
    evil = copied(foreign, tmp_path, lambda connection: None)
    (evil / "spaces" / "2").mkdir(parents=True)
    if kind == "a pipe":
        os.mkfifo(str(evil / "active"))
    elif kind == "an endless file":
        (evil / "active").symlink_to("/dev/zero")
    elif kind == "not a number":
        (evil / "spaces" / "\u00b2").mkdir()
    else:
        copied(foreign, tmp_path / "other", ATTACKS[kind])
        (tmp_path / "other" / "evil" / "state.sqlite").replace(evil / "spaces" / "2" / "state.sqlite")
    assert merge_states([own, evil], tmp_path / "fleet") == {str(own): 20, str(evil): 20}


@pytest.mark.parametrize("kind", ["a pipe", "an endless file", "a megabyte"])
def test_keys_that_are_none_are_not_taken_over(kind: str, states: Tuple[Path, Path], tmp_path: Path) -> None:
    own, foreign = states
    evil = copied(foreign, tmp_path, lambda connection: None)
    (evil / "trusted").mkdir(exist_ok=True)
    path = evil / "trusted" / "0123456789abcdef.pub"
    if kind == "a pipe":
        os.mkfifo(str(path))
    elif kind == "an endless file":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(bytes(1 << 20))
    with pytest.raises(StateError):
        merge_states([evil, own], tmp_path / "fleet")


def test_states_that_keep_samples_and_those_of_old_releases_are_no_attack(tmp_path: Path) -> None:
    parts = [tmp_path / "kept", tmp_path / "old"]
    with golden.opened(parts[0], keep_raw_bytes=1 << 20) as session:
        session.learn_many(golden.frames()[:9], golden.labels()[:9])
    old = golden.golden_state(parts[1])
    assert sum(merge_states([parts[0], old], tmp_path / "fleet").values()) > 9
