"""A damaged state file: kept under another name, and a fresh one takes over every row that matches its hash."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from edgetl_runtime.bundle.container import remove_file, sync_folder
from edgetl_runtime.errors import StateCorruptError, StateFullError
from edgetl_runtime.store.faults import SQLITE_ERRORS, state_error
from edgetl_runtime.store.generations import Generation, Pointer, intact_generation
from edgetl_runtime.store.raw import RAW_COLUMNS
from edgetl_runtime.store.schema import STATE_FILE, TABLES, sample_intact, seal
from edgetl_runtime.store.state import Store

__all__ = ["adopt", "begin_rescue", "finish_rescue", "resume_rescue"]

logger = logging.getLogger(__name__)

_RESCUED = ".rescued"  # a folder beside the state, for the file that is made of it
_MOST_SET_ASIDE = 3
_MOST_BYTES = 4 << 30
_TRIES = 3
_MOST_KEYS, _BEYOND = 10_000, 100  # how far back, and beyond the newest that an event names

Row = Tuple[Any, ...]


def begin_rescue(folder: Path) -> Path:
    """An empty folder for the file that takes over what can be read; the damaged one stays in place until then."""
    made = folder / _RESCUED
    shutil.rmtree(str(made), ignore_errors=True)
    made.mkdir()
    sync_folder(folder)
    return made


def finish_rescue(folder: Path) -> Path:
    """Set the damaged file aside and put the one made of it, closed and synced, in its place; the damaged one's path.

    The newest three are kept, number 1 is the newest. A cut at any point leaves what `resume_rescue` goes on from.
    """
    path = folder / STATE_FILE
    names = [path, *(folder / f"{STATE_FILE}.corrupt-{number}" for number in range(1, _MOST_SET_ASIDE + 1))]
    if path.exists():
        for source, target in reversed(list(zip(names, names[1:]))):
            if source.exists():
                source.replace(target)
                _move_journal(source, target)
    else:  # it was cut here
        _move_journal(names[0], names[1])
    # Only now: beside a new file the old journal would be taken for its own.
    (folder / _RESCUED / STATE_FILE).replace(path)
    sync_folder(folder)
    shutil.rmtree(str(folder / _RESCUED), ignore_errors=True)
    return names[1]


def resume_rescue(folder: Path) -> None:
    """What a cut left of a rescue: finished where the damaged file was moved away already, else begun anew later."""
    made = folder / _RESCUED
    if (made / STATE_FILE).exists() and not (folder / STATE_FILE).exists():
        finish_rescue(folder)
    elif made.exists():
        shutil.rmtree(str(made), ignore_errors=True)


def _move_journal(source: Path, target: Path) -> None:
    """The journal of a damaged file goes with it, its shared memory goes away."""
    journal, moved = Path(f"{source}-wal"), Path(f"{target}-wal")
    if journal.exists() and journal.stat().st_size:
        journal.replace(moved)
    else:
        remove_file(journal)
        remove_file(moved)
    remove_file(Path(f"{source}-shm"))


def adopt(store: Store, damaged: Path, kept_as: str) -> int:
    """Take over what is readable and intact of a damaged file, to be kept under another name; how many samples.

    Without the fact of the feature space nobody knows what the features mean, so no row is taken. What was live
    stays live when its generation is intact, else the newest that is; else the factory head.
    """
    with contextlib.closing(_Readable(damaged)) as found:
        return _adopt(store, found, kept_as)


def _adopt(store: Store, found: _Readable, kept_as: str) -> int:
    keep: Dict[str, str] = {key: found.facts[key] for key in ("bundle", "feature_space", "dim") if key in found.facts}
    # An old bundle must not be taken again because a file was damaged.
    keep.update({key: value for key, value in found.facts.items() if key == "turn" or key.startswith("confirmed ")})
    known = "feature_space" in keep
    saved, numbers = 0, []
    with store.change():
        for row in found.rows("samples", _sample) if known else ():
            saved += store.samples.insert_intact(row)
        for row in found.rows("raw", _raw) if known else ():
            store.raw.insert_intact(row)
        for row in found.each("generations", _sealed("generations")) if known else ():
            if intact_generation(row) is not None and store.generations.insert_intact(row):
                numbers.append(row[0])
        for row in found.rows("statistics", _sealed("statistics")) if known else ():
            store.database.execute(f"INSERT OR REPLACE INTO statistics VALUES ({', '.join('?' * len(row))})", row)
        store.facts.put(keep)
        pointer = _pointer(store, found, numbers, saved)
        store.generations.point(pointer)
        detail = {"kept_as": kept_as, "saved": saved, "generations": sorted(numbers), "live": pointer.active}
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
    """Facts and rows of a damaged file, as far as SQLite can read it, from either end.

    What fails for another reason than damage (no descriptor left, no room for SQLite's shared memory) raises
    StateError: then nothing may be given up, and the next start tries again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Optional[sqlite3.Connection] = None
        self.facts: Dict[str, str] = {}
        self.version_1 = False
        self.newest = 0
        self.pointer: Optional[Pointer] = None
        if path.stat().st_size < 100:
            return
        _fill_up(path)
        columns = list(self._select("PRAGMA table_info(samples)"))
        self.version_1 = 0 < len(columns) < len(TABLES["samples"])
        events = list(self.rows("events", lambda row: [row]))
        for row in events:  # said twice: a lost page must not take all samples with it
            self.facts.update(_installed(row))
        self.facts.update({str(row[0]): str(row[1]) for row in self._select("SELECT * FROM meta") if len(row) == 2})
        kept = next(self.rows("pointer", _sealed("pointer")), None)
        self.pointer = None if kept is None else Pointer(*kept[1:-1])
        named = [row[1] for row in events if isinstance(row[1], int)]
        self.newest = max([0 if self.pointer is None else self.pointer.newest, *named])

    def rows(self, table: str, intact: Callable[[Row], List[Row]]) -> Iterator[Row]:
        """The rows of a table that pass a check, each once."""
        seen: Set[Any] = set()
        for order in ("", " DESC"):
            forward = set(seen)
            for row in self._select(f"SELECT * FROM {table} ORDER BY rowid{order}"):
                if row[0] in forward:
                    break
                for good in intact(row) if row[0] not in seen else ():
                    seen.add(good[0])
                    yield good

    def each(self, table: str, intact: Callable[[Row], List[Row]]) -> Iterator[Row]:
        """The same by asking for the newest keys one by one: rows of many pages, of which any may be gone."""
        for key in range(self.newest + _BEYOND, max(0, self.newest - _MOST_KEYS), -1):
            for row in self._select(f"SELECT * FROM {table} WHERE rowid = ?", (key,)):
                yield from intact(row)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows as far as they can be read; what failed as the disk's error may come again."""
        for attempt in range(_TRIES):
            try:
                if self._connection is None:
                    self._connection = self._connect()
                yield from self._connection.execute(sql, values)
                return
            except SQLITE_ERRORS as error:
                said = state_error(error, self._path)
                if isinstance(said, StateCorruptError) or ("I/O" in str(error) and attempt == _TRIES - 1):
                    return
                self.close()
                if "I/O" not in str(error) or isinstance(said, StateFullError):
                    raise said from error

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return connection


def _installed(event: Row) -> Dict[str, str]:
    """What an installation said about the state when it was written."""
    if len(event) != len(TABLES["events"]) or event[2] != "install":
        return {}
    try:
        said = dict(json.loads(event[3]))
    except (TypeError, ValueError):
        return {}
    return {key: str(said[key]) for key in ("bundle", "feature_space", "dim") if key in said}


def _sample(row: Row) -> List[Row]:
    whole = (*row, "train", None, None) if len(row) == 7 else row
    return [whole] if sample_intact(whole) else []


def _raw(row: Row) -> List[Row]:
    return [row] if len(row) == len(RAW_COLUMNS) and row[-1] == seal("raw", row[:-1]) else []


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
