"""What a device acknowledged is kept, through damage and beside others; what cannot be kept is said."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest
from edgetl_runtime.errors import (
    StateBusyError,
    StateError,
    StateMismatchError,
    UnknownSampleError,
)
from edgetl_runtime.store import Store, open_store

from tests.runtime.states import DIM, add, bound, everything, filled, loaded, remove, rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with contextlib.closing(bound(folder)) as store:
        yield store


def test_what_was_added_is_there_after_opening_again(folder: Path) -> None:
    store = bound(folder)
    assert (store.pointer.active, store.samples.listed()) == (0, [])
    features = rows(3)
    assert add(store, ["a", "ü", "a"], features, "left") == [1, 2, 3]
    assert add(store, ["b"], rows(1, 1), "") == [4]
    kept = everything(store)
    store.close()
    store.close()
    again = bound(folder)
    assert everything(again) == kept
    found = [(s.id, s.label, s.source) for s in again.samples.listed()]
    assert found == [(1, "a", "left"), (2, "ü", "left"), (3, "a", "left"), (4, "b", "")]
    block = next(again.samples.load())
    assert np.array_equal(block.features[:3], features) and block.features.dtype == np.float32
    assert (block.labels, block.sources) == (["a", "ü", "a", "b"], ["left", "left", "left", ""])
    again.close()


def test_blocks_hold_every_sample_once(store: Store) -> None:
    add(store, [str(i) for i in range(10)], rows(10), "")
    blocks = list(loaded(store, block=3))
    assert [len(labels) for labels, _, _ in blocks] == [3, 3, 3, 1]
    assert [label for labels, _, _ in blocks for label in labels] == [str(i) for i in range(10)]


def test_it_is_durable_by_its_settings(store: Store) -> None:
    for setting, value in (("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)):
        assert store.database.connection.execute(f"PRAGMA {setting}").fetchone() == (value,)


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({"sample_id": 2}, [1, 3, 4, 5]),
        ({"label": "a"}, [2, 4, 5]),
        ({"source": "right"}, [1, 2, 4]),
        ({"source": ""}, [1, 2, 3, 5]),
    ],
    ids=str,
)
def test_removing_takes_what_was_named_and_nothing_else(store: Store, which: Dict[str, Any], left: List[int]) -> None:
    for label, source in (("a", "left"), ("b", "left"), ("a", "right"), ("b", ""), ("c", "right")):
        add(store, [label], rows(1), source)
    removed = len(store.samples.listed()) - len(left)
    assert remove(store, **which) == removed
    assert [sample.id for sample in store.samples.listed()] == left


@pytest.mark.parametrize(
    "which",
    [{}, {"sample_id": 1, "label": "a"}, {"sample_id": 99}, {"sample_id": 2**70}, {"label": "x"}, {"source": "x"}],
    ids=str,
)
def test_removing_what_is_not_there_changes_nothing(store: Store, which: Dict[str, Any]) -> None:
    add(store, ["a"], rows(1), "left")
    before = everything(store)
    with pytest.raises(UnknownSampleError):
        remove(store, **which)
    assert everything(store) == before


def test_an_id_is_never_given_twice(store: Store) -> None:
    add(store, ["a", "b"], rows(2), "")
    remove(store, sample_id=2)
    assert add(store, ["c"], rows(1), "") == [3]


def test_forgotten_bytes_are_gone_from_the_disk(store: Store, folder: Path) -> None:
    secret = rows(1, 7)
    add(store, ["a"], rows(1), "")
    (number,) = add(store, ["face of a person"], secret, "")
    assert any(secret.tobytes() in path.read_bytes() for path in folder.iterdir())
    remove(store, sample_id=number)
    for path in folder.iterdir():
        assert secret.tobytes() not in path.read_bytes(), path.name


def test_features_of_another_bundle_are_refused(folder: Path) -> None:
    kept = filled(folder)
    store = open_store(folder)
    with contextlib.closing(store), pytest.raises(StateMismatchError, match="another state folder"):
        store.bind("0" * 64, DIM)
    with contextlib.closing(bound(folder)) as again:
        assert everything(again) == kept


def test_there_is_one_writer_and_any_number_of_readers(store: Store, folder: Path) -> None:
    add(store, ["a"], rows(1), "")
    with pytest.raises(StateBusyError, match="read_only"):
        open_store(folder)
    readers = [bound(folder, read_only=True) for _ in range(3)]
    add(store, ["b"], rows(1), "")
    for reader in readers:
        assert [sample.label for sample in reader.samples.listed()] == ["a", "b"]
        with pytest.raises(StateError, match="reading only"):
            add(reader, ["c"], rows(1), "")
        reader.close()
    store.close()
    bound(folder).close()


def test_the_lock_of_a_killed_writer_is_free(folder: Path) -> None:
    code = "import sys, time, pathlib; from edgetl_runtime.store import open_store as o;"
    code += " store = o(pathlib.Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"open\n"
        with pytest.raises(StateBusyError):
            open_store(folder)
    finally:
        child.kill()
        child.communicate()
    bound(folder).close()


def test_a_reader_sees_one_state_while_another_is_written(store: Store, folder: Path) -> None:
    add(store, ["a"] * 5, rows(5), "")
    reader = bound(folder, read_only=True)
    with reader.view():
        blocks = reader.samples.load(block=2)
        first = next(blocks).labels
        add(store, ["b"] * 5, rows(5), "")
        remove(store, label="a")
        seen = [*first, *(label for block in blocks for label in block.labels)]
        assert seen == ["a"] * 5
    assert [sample.label for sample in reader.samples.listed()] == ["b"] * 5
    reader.close()


def test_nothing_to_read_is_said(folder: Path) -> None:
    with pytest.raises(StateError, match="install"):
        open_store(folder, read_only=True)


def test_half_a_change_leaves_no_trace(store: Store) -> None:
    add(store, ["a"], rows(1), "")
    before = everything(store)
    with pytest.raises(UnicodeEncodeError):
        add(store, ["b", "\ud800"], rows(2), "")  # the second row fails after the first was inserted
    assert everything(store) == before
    assert add(store, ["b"], rows(1), "") == [2]


def test_a_folder_that_is_not_there_or_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(StateError, match=r"state folder|holds no state"):
            open_store(path)
