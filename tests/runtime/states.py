"""States made by hand, for tests of the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, List

import numpy as np
from edgetl_runtime.store import NewSample, Store, open_store

SPACE, DIM = "c0" * 32, 4


def bound(folder: Path, **options: Any) -> Store:
    store = open_store(folder, **options)
    store.bind(SPACE, DIM)
    if not options:
        store.set_meta(feature_space=SPACE, dim=str(DIM))
    return store


def rows(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def add(store: Store, labels: List[str], features: Any, source: str = "") -> List[int]:
    return store.samples.add([NewSample(label, source) for label in labels], features, store.pointer.active)


def remove(store: Store, **which: Any) -> int:
    ids = store.samples.find(**which)
    store.samples.delete(ids)
    store.wipe_journal()
    return len(ids)


def loaded(store: Store, **options: Any) -> List[Any]:
    return [(block.labels, block.features.tolist(), block.sources) for block in store.samples.load(**options)]


def everything(store: Store) -> List[Any]:
    """All that is stored, as plain data."""
    return [store.pointer, [sample.__dict__ for sample in store.samples.listed()], loaded(store)]


def filled(folder: Path, count: int = 30) -> List[Any]:
    store = bound(folder)
    for i in range(count):
        add(store, [f"class {i % 3}"], rows(1, i), "camera")
    kept = everything(store)
    store.close()
    return kept


def run_sql(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(str(folder / "state.sqlite"), isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
