"""Whatever stands in a row of a state: it is used as it was stored, or set aside; only EdgetlError comes out."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from edgetl_runtime.errors import EdgetlError, StateError
from edgetl_runtime.store import Folded, Generation, Pointer, Store
from edgetl_runtime.store.schema import TABLES
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.states import DIM, SPACE, add, bound, rows

_TABLES = {**TABLES, "raw": ["id", "data", "sha256"]}
_CELLS = [
    (table, column)
    for table in ("meta", "samples", "events", "generations", "pointer", "statistics", "raw")
    for column in _TABLES[table]
]
_VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=40), st.binary(max_size=80)
)


def _seen(store: Store) -> Dict[str, Any]:
    """All that a session takes from a store."""
    samples: Dict[int, Tuple[Any, ...]] = {}
    for block in store.samples.load():
        for position, number in enumerate(block.ids):
            told = (block.labels[position], block.sources[position], block.roles[position], block.trials[position])
            samples[number] = (*told, block.generations[position], block.features[position].tolist())
    kept: Dict[int, List[Any]] = {}
    for number in store.raw.ids():
        with contextlib.suppress(KeyError):
            kept[number] = store.raw.get(number).tolist()
    made = {number: store.generations.get(number) for number in (1, 2)}
    return {"samples": samples, "kept": kept, "generations": made, "folded": store.folded.get()}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Tuple[Path, Dict[str, Any]]:
    folder = tmp_path_factory.mktemp("rows") / "state"
    folder.mkdir()
    with contextlib.closing(bound(folder)) as store:
        ids = add(store, ["a", "b", "c"], rows(3), "camera")
        with store.change():
            store.raw.add(ids, list(rows(3)), 1 << 20)
            store.generations.add(Generation(1, 0, "learnt", 2, 2, SPACE, {"x": 1}, head=b"head"))
            store.generations.add(Generation(2, 1, "learnt", 3, 3, SPACE, head=b"other"))
            store.generations.point(Pointer(2, 1, 2, 0, 3, "{}"))
            store.folded.put(Folded(0, 4, {"a": 4}, ("camera",), SPACE, b"sums"))
            store.log_event("install", bundle="x")
        store.settle()
        seen = _seen(store)
    return folder, seen


@given(cell=st.sampled_from(_CELLS), value=_VALUES, row=st.integers(0, 2))
def test_a_row_is_used_as_it_was_stored_or_not_at_all(
    cell: Tuple[str, str], value: Any, row: int, filled: Tuple[Path, Dict[str, Any]]
) -> None:
    source, before = filled
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "state"
        shutil.copytree(str(source), str(folder))
        table, column = cell
        key = _TABLES[table][0]
        with contextlib.closing(sqlite3.connect(str(folder / "state.sqlite"), isolation_level=None)) as connection:
            keys = [one for (one,) in connection.execute(f"SELECT {key} FROM {table} ORDER BY 1")]
            try:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, keys[row % len(keys)])
                )
            except sqlite3.Error:  # the file itself refuses it
                return
        try:
            with contextlib.closing(bound(folder)) as store:
                after, pointer = _seen(store), store.pointer
                store.facts.events()
                store.samples.dim = DIM
                assert add(store, ["d"], rows(1))[0] not in after["samples"]
        except EdgetlError as error:
            assert isinstance(error, StateError)
            return
        finally:
            logging.disable(logging.NOTSET)
        assert pointer in (Pointer(2, 1, 2, 0, 3, "{}"), Pointer())
        for part in ("samples", "kept"):
            assert all(before[part].get(number) == held for number, held in after[part].items()), part
        assert all(made in (None, before["generations"][number]) for number, made in after["generations"].items())
        assert after["folded"] in (None, before["folded"])
