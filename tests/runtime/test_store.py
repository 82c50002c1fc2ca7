"""What a device acknowledged is kept, through damage and beside others; what cannot be kept is said."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest
from edgetl_runtime.errors import (
    StateBusyError,
    StateCorruptError,
    StateError,
    StateMismatchError,
    UnknownSampleError,
)
from edgetl_runtime.store import Store, open_store

SPACE, DIM = "c0" * 32, 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with contextlib.closing(bound(folder)) as store:
        yield store


def bound(folder: Path, **options: Any) -> Store:
    store = open_store(folder, **options)
    store.bind(SPACE, DIM)
    if not options:
        store.set_meta(feature_space=SPACE, dim=str(DIM))
    return store


def rows(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def everything(store: Store) -> List[Any]:
    """All that is stored, as plain data."""
    blocks = [(labels, features.tolist(), sources) for labels, features, sources in store.load()]
    return [store.generation, [sample.__dict__ for sample in store.samples()], blocks]


def filled(folder: Path, count: int = 30) -> List[Any]:
    store = bound(folder)
    for i in range(count):
        store.add([f"class {i % 3}"], rows(1, i), "camera")
    kept = everything(store)
    store.close()
    return kept


def run_sql(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(str(folder / "state.sqlite"), isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_what_was_added_is_there_after_opening_again(folder: Path) -> None:
    store = bound(folder)
    assert (store.generation, store.samples()) == (0, [])
    features = rows(3)
    assert store.add(["a", "ü", "a"], features, "left") == [1, 2, 3]
    assert store.add(["b"], rows(1, 1), "") == [4]
    kept = everything(store)
    store.close()
    store.close()
    again = bound(folder)
    assert everything(again) == kept
    assert again.generation == 2
    found = [(s.id, s.label, s.source, s.generation) for s in again.samples()]
    assert found == [(1, "a", "left", 1), (2, "ü", "left", 1), (3, "a", "left", 1), (4, "b", "", 2)]
    labels, loaded, sources = next(again.load())
    assert np.array_equal(loaded[:3], features) and loaded.dtype == np.float32
    assert (labels, sources) == (["a", "ü", "a", "b"], ["left", "left", "left", ""])
    again.close()


def test_blocks_hold_every_sample_once(store: Store) -> None:
    store.add([str(i) for i in range(10)], rows(10), "")
    blocks = list(store.load(block=3))
    assert [len(labels) for labels, _, _ in blocks] == [3, 3, 3, 1]
    assert [label for labels, _, _ in blocks for label in labels] == [str(i) for i in range(10)]


def test_it_is_durable_by_its_settings(store: Store) -> None:
    for setting, value in (("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)):
        assert store._connection.execute(f"PRAGMA {setting}").fetchone() == (value,)


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
        store.add([label], rows(1), source)
    removed = len(store.samples()) - len(left)
    assert store.remove(**which) == removed
    assert [sample.id for sample in store.samples()] == left


@pytest.mark.parametrize(
    "which",
    [{}, {"sample_id": 1, "label": "a"}, {"sample_id": 99}, {"sample_id": 2**70}, {"label": "x"}, {"source": "x"}],
    ids=str,
)
def test_removing_what_is_not_there_changes_nothing(store: Store, which: Dict[str, Any]) -> None:
    store.add(["a"], rows(1), "left")
    before = everything(store)
    with pytest.raises(UnknownSampleError):
        store.remove(**which)
    assert everything(store) == before


def test_an_id_is_never_given_twice(store: Store) -> None:
    store.add(["a", "b"], rows(2), "")
    store.remove(sample_id=2)
    assert store.add(["c"], rows(1), "") == [3]


def test_forgotten_bytes_are_gone_from_the_disk(store: Store, folder: Path) -> None:
    secret = rows(1, 7)
    store.add(["a"], rows(1), "")
    (number,) = store.add(["face of a person"], secret, "")
    assert any(secret.tobytes() in path.read_bytes() for path in folder.iterdir())
    store.remove(sample_id=number)
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
    store.add(["a"], rows(1), "")
    with pytest.raises(StateBusyError, match="read_only"):
        open_store(folder)
    readers = [bound(folder, read_only=True) for _ in range(3)]
    store.add(["b"], rows(1), "")
    for reader in readers:
        assert [sample.label for sample in reader.samples()] == ["a", "b"]
        with pytest.raises(StateError, match="reading only"):
            reader.add(["c"], rows(1), "")
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
    store.add(["a"] * 5, rows(5), "")
    reader = bound(folder, read_only=True)
    with reader.view():
        before = reader.generation
        blocks = reader.load(block=2)
        first = next(blocks)
        store.add(["b"] * 5, rows(5), "")
        store.remove(label="a")
        seen = [*first[0], *(label for labels, _, _ in blocks for label in labels)]
        assert (seen, reader.generation) == (["a"] * 5, before)
    assert [sample.label for sample in reader.samples()] == ["b"] * 5
    reader.close()


def test_nothing_to_read_is_said(folder: Path) -> None:
    with pytest.raises(StateError, match="install"):
        open_store(folder, read_only=True)


def test_half_a_change_leaves_no_trace(store: Store) -> None:
    store.add(["a"], rows(1), "")
    before = everything(store)
    with pytest.raises(UnicodeEncodeError):
        store.add(["b", "\ud800"], rows(2), "")  # the second row fails after the first was inserted
    assert everything(store) == before
    assert store.add(["b"], rows(1), "") == [2]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE samples SET features = zeroblob(16) WHERE id = 7",
        "UPDATE samples SET features = zeroblob(12) WHERE id = 7",
        "UPDATE samples SET label = 'class 9' WHERE id = 7",
        "UPDATE samples SET source = 'x' WHERE id = 7",
        "UPDATE samples SET sha256 = zeroblob(32) WHERE id = 7",
        "UPDATE samples SET label = CAST(x'ff80' AS TEXT) WHERE id = 7",
        "UPDATE samples SET features = 'text' WHERE id = 7",
        "UPDATE samples SET label = x'00ff' WHERE id = 7",
    ],
)
def test_a_damaged_row_is_set_aside_and_the_others_serve(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(folder)
    run_sql(folder, damage)
    reader = bound(folder, read_only=True)
    assert sum(len(labels) for labels, _, _ in reader.load()) == 29  # a reader leaves it out too
    reader.close()
    store = bound(folder)
    generation = store.generation
    assert sum(len(labels) for labels, _, _ in store.load()) == 29
    assert store.quarantined() == 1
    assert 7 not in [sample.id for sample in store.samples()]
    assert store.generation == generation + 1  # another head than before, so another number
    assert "sample 7 does not match its hash" in caplog.text
    kept = everything(store)
    store.close()
    with contextlib.closing(bound(folder)) as again:
        assert everything(again) == kept


def test_rubbish_in_place_of_the_state_is_kept_aside(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for content in (b"rubbish" * 1000, b"\0" * 8192):
        (folder / "state.sqlite").write_bytes(content)
        with pytest.raises(StateCorruptError, match="edgetl-runtime install"):
            open_store(folder, read_only=True)
        store = bound(folder)
        assert store.kept_aside()[0] == "state.sqlite.corrupt-1"
        assert (folder / "state.sqlite.corrupt-1").read_bytes() == content
        store.add(["a"], rows(1), "")
        store.close()
    assert "kept as" in caplog.text


def test_the_three_newest_damaged_files_are_kept(folder: Path) -> None:
    for number in range(5):
        (folder / "state.sqlite").write_bytes(b"rubbish %d" % number * 100)
        bound(folder).close()
    assert sorted(path.name for path in folder.glob("*corrupt*")) == [f"state.sqlite.corrupt-{i}" for i in (1, 2, 3)]
    assert [(folder / f"state.sqlite.corrupt-{i}").read_bytes()[8:9] for i in (1, 2, 3)] == [b"4", b"3", b"2"]


def test_what_matches_its_hash_is_saved_from_a_damaged_file(folder: Path) -> None:
    """Most of a file survives most damage: a zeroed page costs the rows that lay on it."""
    kept = filled(folder, 400)
    path = folder / "state.sqlite"
    whole = path.read_bytes()
    pages = len(whole) // 4096
    assert pages > 10
    saved = []
    for page in range(1, pages):
        path.write_bytes(whole[: page * 4096] + b"\0" * 4096 + whole[(page + 1) * 4096 :])
        store = bound(folder)
        samples = {sample.id: (sample.label, sample.generation) for sample in store.samples()}
        known = {row["id"]: (row["label"], row["generation"]) for row in kept[1]}
        assert {i: known[i] for i in samples} == samples
        learnt = [pair for labels, features, _ in store.load() for pair in zip(labels, features.tolist())]
        assert all(pair in list(zip(*kept[2][0][:2])) for pair in learnt)
        assert store.generation > 0 or not samples
        assert not samples or store.add(["new"], rows(1), "")[0] > max(samples)
        saved.append(len(samples))
        store.close()
        for rest in folder.glob("state.sqlite*"):
            rest.unlink()
    assert sorted(saved)[len(saved) // 2] > 300


def test_an_empty_file_where_a_bundle_was_installed_is_reported(folder: Path) -> None:
    (folder / "bundles").mkdir()
    (folder / "bundles" / "x.edgetl").touch()
    (folder / "state.sqlite").touch()
    with contextlib.closing(bound(folder)) as store:
        assert store.kept_aside() == ["state.sqlite.corrupt-1"]


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE samples", "DROP TABLE events", "PRAGMA user_version = 0", "PRAGMA user_version = 1073741825"],
)
def test_a_state_that_lost_its_form_is_kept_aside(folder: Path, damage: str) -> None:
    filled(folder)
    run_sql(folder, damage)
    store = bound(folder)
    assert store.kept_aside() == ["state.sqlite.corrupt-1"]
    assert len(store.samples()) == (0 if "samples" in damage else 30)
    store.close()


def test_damage_that_only_writing_meets_is_found_at_the_start(folder: Path) -> None:
    filled(folder)
    change = "UPDATE sqlite_master SET sql = 'CREATE TABLE sqlite_sequence(name)' WHERE name = 'sqlite_sequence'"
    run_sql(folder, "PRAGMA writable_schema = 1", change)
    store = bound(folder)
    assert len(store.samples()) == 30
    assert store.add(["a"], rows(1), "") == [31]
    store.close()


def test_a_lost_generation_number_is_found_again(folder: Path) -> None:
    filled(folder)
    run_sql(folder, "UPDATE meta SET value = '3x' WHERE key = 'generation'")
    with contextlib.closing(bound(folder)) as store:
        assert store.generation == 30


def test_a_state_of_a_newer_version_is_left_alone(folder: Path) -> None:
    filled(folder)
    run_sql(folder, "PRAGMA user_version = 2")
    before = (folder / "state.sqlite").read_bytes()
    for options in ({}, {"read_only": True}):
        with pytest.raises(StateError, match=r"schema 2.*upgrade edgetl-runtime"):
            open_store(folder, **options)
    assert (folder / "state.sqlite").read_bytes() == before
    assert not list(folder.glob("*corrupt*"))


def test_the_bundle_that_is_installed_serves_although_the_fact_of_its_features_is_damaged(folder: Path) -> None:
    filled(folder)
    run_sql(folder, "UPDATE meta SET value = 'c0d0' WHERE key = 'feature_space'")
    store = open_store(folder)
    with pytest.raises(StateMismatchError):
        store.bind(SPACE, DIM, "the id of another bundle")
    store.set_meta(bundle="its id")
    store.bind(SPACE, DIM, "its id")
    assert sum(len(labels) for labels, _, _ in store.load()) == 30
    store.close()


def test_a_thousand_flipped_bits_never_stop_a_device_nor_change_a_sample(folder: Path) -> None:
    kept = filled(folder, 100)
    known = {(label, tuple(row)) for labels, features, _ in kept[2] for label, row in zip(labels, features)}
    path = folder / "state.sqlite"
    whole = path.read_bytes()
    draw = random.Random(5)
    refused = 0
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(4):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        try:
            store = open_store(folder)
        except StateError as error:
            refused += 1
            assert "newer version" in str(error)
            continue
        try:
            store.bind(SPACE, DIM)
        except StateMismatchError:
            refused += 1
        else:
            found = [(la, tuple(row.tolist())) for labels, rows_, _ in store.load() for la, row in zip(labels, rows_)]
            assert set(found) <= known and len(found) == len(set(found))
            lost = len(known) - len(found)
            assert lost == 0 or store.quarantined() or store.kept_aside()
            store.add(["goes on"], rows(1), "")
        store.close()
        for rest in folder.glob("state.sqlite*"):
            rest.unlink()
    assert refused <= 5


def test_a_folder_that_is_not_there_or_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(StateError, match=r"state folder|holds no state"):
            open_store(path)
