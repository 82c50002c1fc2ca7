"""A damaged state never stops a device nor changes what it knows: the intact serves, the rest is kept aside."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from edgetl_runtime.errors import (
    StateCorruptError,
    StateError,
    StateMismatchError,
)
from edgetl_runtime.store import open_store

from tests.runtime.states import DIM, SPACE, add, bound, everything, filled, loaded, rows, run_sql


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


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
    assert sum(len(labels) for labels, _, _ in loaded(reader)) == 29  # a reader leaves it out too
    reader.close()
    store = bound(folder)
    assert sum(len(labels) for labels, _, _ in loaded(store)) == 29
    assert store.quarantined() == 1
    assert 7 not in [sample.id for sample in store.samples.listed()]
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
        add(store, ["a"], rows(1), "")
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
        samples = {sample.id: (sample.label, sample.generation) for sample in store.samples.listed()}
        known = {row["id"]: (row["label"], row["generation"]) for row in kept[1]}
        assert {i: known[i] for i in samples} == samples
        learnt = [pair for labels, features, _ in loaded(store) for pair in zip(labels, features)]
        assert all(pair in list(zip(*kept[2][0][:2])) for pair in learnt)
        assert not samples or add(store, ["new"], rows(1), "")[0] > max(samples)
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
    [
        "DROP TABLE samples",
        "DROP TABLE events",
        "DROP TABLE generations",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 3",
        "PRAGMA user_version = 1073741826",
    ],
)
def test_a_state_that_lost_its_form_is_kept_aside(folder: Path, damage: str) -> None:
    filled(folder)
    run_sql(folder, damage)
    store = bound(folder)
    assert store.kept_aside() == ["state.sqlite.corrupt-1"]
    assert len(store.samples.listed()) == (0 if "samples" in damage else 30)
    store.close()


def test_damage_that_only_writing_meets_is_found_at_the_start(folder: Path) -> None:
    filled(folder)
    change = "UPDATE sqlite_master SET sql = 'CREATE TABLE sqlite_sequence(name)' WHERE name = 'sqlite_sequence'"
    run_sql(folder, "PRAGMA writable_schema = 1", change)
    store = bound(folder)
    assert len(store.samples.listed()) == 30
    assert add(store, ["a"], rows(1), "") == [31]
    store.close()


def test_a_state_of_a_newer_version_is_left_alone(folder: Path) -> None:
    filled(folder)
    run_sql(folder, "PRAGMA user_version = 3", "UPDATE meta SET value = '3' WHERE key = 'schema'")
    before = (folder / "state.sqlite").read_bytes()
    for options in ({}, {"read_only": True}):
        with pytest.raises(StateError, match=r"schema 3.*upgrade edgetl-runtime"):
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
    assert sum(len(labels) for labels, _, _ in loaded(store)) == 30
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
            found = [(la, tuple(row)) for labels, rows_, _ in loaded(store) for la, row in zip(labels, rows_)]
            assert set(found) <= known and len(found) == len(set(found))
            lost = len(known) - len(found)
            assert lost == 0 or store.quarantined() or store.kept_aside()
            add(store, ["goes on"], rows(1), "")
        store.close()
        for rest in folder.glob("state.sqlite*"):
            rest.unlink()
    assert refused <= 5


