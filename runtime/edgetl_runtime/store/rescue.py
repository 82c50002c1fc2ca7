"""A damaged state file: kept under another name, and a fresh one takes over every row that matches its hash."""

from __future__ import annotations

import logging
import sqlite3
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from edgetl_runtime.bundle.container import sync_folder
from edgetl_runtime.store.faults import SQLITE_ERRORS
from edgetl_runtime.store.generations import Generation, Pointer, intact_generation
from edgetl_runtime.store.schema import STATE_FILE, TABLES, sample_intact, seal
from edgetl_runtime.store.state import Store

__all__ = ["adopt", "put_back", "set_aside"]

logger = logging.getLogger(__name__)

_MOST_SET_ASIDE = 3
_MOST_BYTES = 4 << 30
_MOST_KEYS, _BEYOND = 10_000, 100  # how far back, and beyond the newest that an event names

Row = Tuple[Any, ...]


def set_aside(folder: Path) -> Path:
    """Rename a damaged file with its journal; the newest three are kept, number 1 is the newest."""
    path = folder / STATE_FILE
    names = [path, *(folder / f"{STATE_FILE}.corrupt-{number}" for number in range(1, _MOST_SET_ASIDE + 1))]
    for source, target in reversed(list(zip(names, names[1:]))):
        # The journal goes first: beside a new database it would be taken for its own.
        for suffix in ("-wal", "-shm", ""):
            part, moved = Path(f"{source}{suffix}"), Path(f"{target}{suffix}")
            if part.exists():
                part.replace(moved)
            elif moved.exists():
                moved.unlink()
    sync_folder(folder)
    return names[1]


def put_back(aside: Path, path: Path) -> None:
    """Undo `set_aside` of the newest, so that the next start tries again."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink() if Path(f"{path}{suffix}").exists() else None
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{aside}{suffix}").exists():
            Path(f"{aside}{suffix}").replace(f"{path}{suffix}")


def adopt(store: Store, aside: Path) -> int:
    """Take over what is readable and intact of the file set aside; how many samples.

    Without the fact of the feature space nobody knows what the features mean, so no row is taken. What was live
    stays live when its generation is intact, else the newest that is; else the factory head.
    """
    found = _Readable(aside)
    keep: Dict[str, str] = {key: found.facts[key] for key in ("bundle", "feature_space", "dim") if key in found.facts}
    known = "feature_space" in keep
    saved, numbers = 0, []
    with store.change():
        for row in found.rows("samples", _sample) if known else ():
            saved += store.samples.insert_intact(row)
        for row in found.each("generations", _sealed("generations")) if known else ():
            if intact_generation(row) is not None and store.generations.insert_intact(row):
                numbers.append(row[0])
        for row in found.rows("statistics", _sealed("statistics")) if known else ():
            store.database.execute(f"INSERT OR REPLACE INTO statistics VALUES ({', '.join('?' * len(row))})", row)
        store.facts.put(keep)
        pointer = _pointer(store, found, numbers, saved)
        store.generations.point(pointer)
        detail = {"kept_as": aside.name, "saved": saved, "generations": sorted(numbers), "live": pointer.active}
        store.facts.log(pointer.active, "state_corrupt", detail)
    return saved


def _pointer(store: Store, found: _Readable, numbers: Sequence[int], saved: int) -> Pointer:
    pointer = found.pointer or Pointer()
    newest = max([pointer.newest, found.newest, *numbers], default=0)
    last = store.samples.last_id()
    if found.version_1 and saved:
        # As in a migration: all that was learnt was live, so the sum of what is left is.
        newest += 1
        space = found.facts["feature_space"]
        store.generations.add(Generation(newest, 0, "rescued", last, saved, space))
        return Pointer(active=newest, newest=newest, since=last)
    if pointer.active in numbers or (found.pointer is not None and pointer.active == 0):
        return pointer
    good = [number for number in store.generations.numbers() if number in numbers]
    return Pointer(active=max(good, default=0), newest=newest, since=last)


class _Readable:
    """Facts and rows of a damaged file, as far as SQLite can read it, from either end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.facts: Dict[str, str] = {}
        self.version_1 = False
        self.newest = 0
        self.pointer: Optional[Pointer] = None
        if path.stat().st_size < 100:
            return
        try:
            _fill_up(path)
            connection = self._connect()
        except SQLITE_ERRORS:
            return
        try:
            columns = connection.execute("PRAGMA table_info(samples)").fetchall()
            self.version_1 = 0 < len(columns) < len(TABLES["samples"])
            self.facts = {str(key): str(value) for key, value in connection.execute("SELECT * FROM meta")}
        except SQLITE_ERRORS:
            pass
        finally:
            connection.close()
        kept = next(self.rows("pointer", _sealed("pointer")), None)
        self.pointer = None if kept is None else Pointer(*kept[1:-1])
        named = [row[1] for row in self.rows("events", lambda row: [row]) if isinstance(row[1], int)]
        self.newest = max([0 if self.pointer is None else self.pointer.newest, *named])

    def rows(self, table: str, intact: Callable[[Row], List[Row]]) -> Iterator[Row]:
        """The rows of a table that pass a check, each once."""
        seen = set()
        if not self.facts:
            return
        connection = self._connect()
        try:
            for order in ("", " DESC"):
                try:
                    for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid{order}"):
                        if row[0] in seen:
                            break
                        for good in intact(row):
                            seen.add(good[0])
                            yield good
                except SQLITE_ERRORS:
                    continue
        finally:
            connection.close()

    def each(self, table: str, intact: Callable[[Row], List[Row]]) -> Iterator[Row]:
        """The same by asking for the newest keys one by one: rows of many pages, of which any may be gone."""
        if not self.facts:
            return
        connection = self._connect()
        try:
            for key in range(self.newest + _BEYOND, max(0, self.newest - _MOST_KEYS), -1):
                try:
                    rows = connection.execute(f"SELECT * FROM {table} WHERE rowid = ?", (key,)).fetchall()
                except SQLITE_ERRORS:
                    continue
                for row in rows:
                    yield from intact(row)
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return connection


def _sample(row: Row) -> List[Row]:
    whole = (*row, "train", None, None) if len(row) == 7 else row
    return [whole] if sample_intact(whole) else []


def _sealed(table: str) -> Callable[[Row], List[Row]]:
    def intact(row: Row) -> List[Row]:
        return [row] if len(row) == len(TABLES[table]) and row[-1] == seal(table, row[:-1]) else []

    return intact


def _fill_up(path: Path) -> None:
    """Give a file that was cut short its length back, as zeros: SQLite reads nothing of it otherwise."""
    with path.open("r+b") as file:
        header = file.read(100)
        page_bytes, pages = struct.unpack(">H", header[16:18])[0], struct.unpack(">I", header[28:32])[0]
        if header[:16] == b"SQLite format 3\0" and path.stat().st_size < page_bytes * pages <= _MOST_BYTES:
            file.truncate(page_bytes * pages)
