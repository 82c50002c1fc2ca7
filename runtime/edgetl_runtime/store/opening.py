"""Opening the state of a device: one writer, any number of readers, and a working store after any damage.

Syntax of SQLite 3.31 (JetPack 5).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import struct
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from edgetl_runtime.bundle.container import sync_folder
from edgetl_runtime.errors import StateBusyError, StateCorruptError, StateError
from edgetl_runtime.store.faults import SQLITE_ERRORS, state_error, state_os_error
from edgetl_runtime.store.samples import SCHEMA, SCHEMA_VERSION, STATE_FILE, TABLES, Store, row_intact

__all__ = ["open_store"]

logger = logging.getLogger(__name__)

_MOST_SET_ASIDE = 3
_MOST_BYTES = 4 << 30
_ABSURD_VERSION = 1000  # no release has it, a flipped bit has


def open_store(folder: Path, *, read_only: bool = False) -> Store:
    """Open, or create, the state in `folder`, which must exist; `bind` it to a feature space before learning.

    One writer at a time holds a lock; `read_only` needs none. Raises StateBusyError when another process
    writes it, StateFullError, StateError. A device must always come up: a damaged file is kept under
    another name and reported, and a fresh state takes over every sample of it that still matches its hash.
    """
    if read_only:
        try:
            return _open(folder, None)
        except StateCorruptError as error:
            raise StateCorruptError(
                f"{error}; open it once for writing (edgetl-runtime install BUNDLE --state {folder}):"
                " that keeps the damaged file aside and saves what can be read"
            ) from error
    lock = _lock(folder)
    try:
        try:
            return _open(folder, lock)
        except StateCorruptError as error:
            return _recover(folder, lock, error)
    except OSError as error:
        os.close(lock)
        raise state_os_error(error, folder) from error
    except BaseException:
        os.close(lock)
        raise


def _open(folder: Path, lock: Optional[int]) -> Store:
    path = folder / STATE_FILE
    fresh = not path.exists()
    if fresh and lock is None:
        raise StateError(
            f"{folder} holds no state to read; install a bundle there: edgetl-runtime install BUNDLE --state {folder}"
        )
    if not fresh and path.stat().st_size == 0 and any((folder / "bundles").glob("*")):
        raise StateCorruptError(f"{path} is empty, though a bundle was installed")
    connection: Optional[sqlite3.Connection] = None
    try:
        connection = sqlite3.connect(
            path.absolute().as_uri() + _mode(path, lock),
            uri=True,
            timeout=0.1,
            isolation_level=None,
            check_same_thread=False,
        )
        # A damaged text must reach the check of its hash, not stop the reading.
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables - {"sqlite_sequence"} if version == 0 else not 0 < version < _ABSURD_VERSION:
            raise StateCorruptError(f"{path} is damaged, or is not the state of a device")
        if version > SCHEMA_VERSION:
            raise StateError(
                f"{path} has schema {version}, this edgetl-runtime knows {SCHEMA_VERSION}: a newer version wrote it;"
                " upgrade edgetl-runtime, or use another state folder"
            )
        if lock is not None:
            _make_durable(connection)
            if version == 0:
                connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            sync_folder(folder)  # SQLite does so for its journal only
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise StateCorruptError(f"{path} is damaged")
        for table, columns in TABLES.items():
            if [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] != columns:
                raise StateCorruptError(f"{path} is damaged: its table {table} is not what it was")
        if lock is not None:
            _rehearse(connection)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, SQLITE_ERRORS):
            raise state_error(error, path) from error
        raise
    return Store(folder, connection, lock)


def _mode(path: Path, lock: Optional[int]) -> str:
    if lock is not None:
        return "?mode=rwc"
    journal = Path(f"{path}-wal")
    has_journal = journal.exists() and journal.stat().st_size > 0
    if not has_journal and not os.access(str(path.parent), os.W_OK):
        return "?mode=ro&immutable=1"  # nobody can write there, and SQLite could not make its shared memory
    return "?mode=ro"


def _make_durable(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    # Where there is no shared memory SQLite keeps its old journal, which is durable with EXTRA only.
    connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'wal' else 'EXTRA'}")
    connection.execute("PRAGMA secure_delete = ON")  # what is forgotten leaves no bytes behind


def _rehearse(connection: sqlite3.Connection) -> None:
    """Write a row into every table and take it back: damage that the check overlooks shows now, not at a `learn`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table, columns in TABLES.items():
            values = ", ".join("NULL" if column == "id" else "'0'" for column in columns)
            connection.execute(f"INSERT INTO {table} VALUES ({values})")
    finally:
        connection.execute("ROLLBACK")


def _lock(folder: Path) -> int:
    try:
        descriptor = os.open(str(folder / "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise state_os_error(error, folder) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise StateBusyError(
                f"another session is learning in {folder}; close it first, or open this one with read_only"
            ) from error
        raise state_os_error(error, folder) from error
    return descriptor


def _recover(folder: Path, lock: int, error: StateCorruptError) -> Store:
    aside = _set_aside(folder)
    store = _open(folder, lock)
    try:
        facts, rows = _readable(aside)
        saved = store.adopt(facts, rows, kept_as=aside.name)
    except BaseException:
        store.close()
        _put_back(aside, folder / STATE_FILE)  # the next start tries again
        raise
    logger.error("%s; kept as %s, %d samples saved from it", error, aside, saved)
    return store


def _set_aside(folder: Path) -> Path:
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


def _put_back(aside: Path, path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink() if Path(f"{path}{suffix}").exists() else None
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{aside}{suffix}").exists():
            Path(f"{aside}{suffix}").replace(f"{path}{suffix}")


def _readable(path: Path) -> Tuple[Dict[str, str], Iterator[Tuple[Any, ...]]]:
    """Facts and intact samples of a damaged file, as far as SQLite can read it, from either end."""
    if path.stat().st_size < 100:
        return {}, iter(())
    try:
        _fill_up(path)
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        facts = {str(key): str(value) for key, value in connection.execute("SELECT * FROM meta")}
    except SQLITE_ERRORS:
        return {}, iter(())
    return facts, _readable_rows(connection)


def _fill_up(path: Path) -> None:
    """Give a file that was cut short its length back, as zeros: SQLite reads nothing of it otherwise."""
    with path.open("r+b") as file:
        header = file.read(100)
        page_bytes, pages = struct.unpack(">H", header[16:18])[0], struct.unpack(">I", header[28:32])[0]
        if header[:16] == b"SQLite format 3\0" and path.stat().st_size < page_bytes * pages <= _MOST_BYTES:
            file.truncate(page_bytes * pages)


def _readable_rows(connection: sqlite3.Connection) -> Iterator[Tuple[Any, ...]]:
    seen = set()
    try:
        for order in ("", " DESC"):
            try:
                for row in connection.execute(f"SELECT * FROM samples ORDER BY rowid{order}"):
                    if row[0] in seen:
                        break
                    if len(row) == len(TABLES["samples"]) and row_intact(row[2], row[3], row[4], row[6]):
                        seen.add(row[0])
                        yield row
            except SQLITE_ERRORS:
                continue
    finally:
        connection.close()
