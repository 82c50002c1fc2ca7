"""Opening the state of a device: one writer, any number of readers, and a working store after any damage.

Syntax of SQLite 3.31 (JetPack 5).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Optional

from edgetl_runtime.bundle.container import sync_folder
from edgetl_runtime.errors import StateBusyError, StateCorruptError, StateError, StateFullError
from edgetl_runtime.store.ballast import keep_ballast, release_ballast
from edgetl_runtime.store.database import Database
from edgetl_runtime.store.faults import SQLITE_ERRORS, state_error, state_os_error
from edgetl_runtime.store.foreign import check_schema
from edgetl_runtime.store.journal import frames_begun
from edgetl_runtime.store.rescue import adopt, begin_rescue, finish_rescue, resume_rescue
from edgetl_runtime.store.schema import SCHEMA_VERSION, STATE_FILE, TABLES, create_or_migrate
from edgetl_runtime.store.spaces import activate, active_space, list_spaces, noted_space, root_of, space_folder
from edgetl_runtime.store.state import Store

__all__ = ["open_space", "open_store"]

logger = logging.getLogger(__name__)

_JOURNAL_BYTES = 8 << 20  # what the journal shrinks back to
_ABSURD_VERSION = 1000  # no release has it, a flipped bit has


def open_store(folder: Path, *, read_only: bool = False, foreign: bool = False) -> Store:
    """Open, or create, the state in use in `folder`, which must exist; `bind` it to a feature space before learning.

    One writer at a time holds a lock; `read_only` needs none, and is how one that is `foreign`, written by somebody
    else, is opened: nothing that it asks SQLite to compute is computed. Raises StateBusyError when another process
    writes it, StateFullError, StateError. A device must always come up: a damaged file is kept under
    another name and reported, and a fresh state takes over every sample of it that still matches its hash.
    """
    name = active_space(folder)
    store = _opened(space_folder(folder, name), read_only, foreign)
    if read_only:
        return store
    try:
        if active_space(folder) != name:
            raise StateBusyError(f"another session has just switched the bundle in {folder}; try again")
        if len(list_spaces(folder)) > 1 and noted_space(folder) is None:
            logger.error("state %s: which of its states is in use was not noted; %s serves", folder, store.path)
            with contextlib.suppress(StateError):
                activate(folder, name)
        return store
    except BaseException:
        store.close()
        raise


def open_space(folder: Path, name: str, *, read_only: bool = False) -> Store:
    """The same for the state of that name, in use or not; its folder is made when it is absent."""
    path = space_folder(folder, name)
    try:
        if not read_only and not path.is_dir():
            path.mkdir(parents=True)
            for made in (path.parent.parent, path.parent):
                sync_folder(made)
    except OSError as error:
        raise state_os_error(error, folder) from error
    return _opened(path, read_only)


def _opened(folder: Path, read_only: bool, foreign: bool = False) -> Store:
    if read_only:
        try:
            return _open(folder, None, foreign)
        except StateCorruptError as error:
            raise StateCorruptError(
                f"{error}; open it once for writing (edgetl-runtime install BUNDLE --state {folder}):"
                " that keeps the damaged file aside and saves what can be read"
            ) from error
        except OSError as error:
            raise state_os_error(error, folder) from error
    lock = _lock(folder)
    try:
        resume_rescue(folder)
        try:
            store = _open_or_recover(folder, lock)
        except StateFullError:
            if not release_ballast(folder):
                raise
            return _open_or_recover(folder, lock)
        keep_ballast(folder)
        return store
    except OSError as error:
        os.close(lock)
        raise state_os_error(error, folder) from error
    except BaseException:
        os.close(lock)
        raise


def _open_or_recover(folder: Path, lock: int) -> Store:
    try:
        return _open(folder, lock)
    except StateCorruptError as error:
        return _recover(folder, lock, error)


def _open(folder: Path, lock: Optional[int], foreign: bool = False) -> Store:
    path = folder / STATE_FILE
    fresh = not (path.is_file() if foreign else path.exists())
    if fresh and lock is None:
        raise StateError(
            f"{folder} holds no state to read; install a bundle there: edgetl-runtime install BUNDLE --state {folder}"
        )
    if not fresh and path.stat().st_size == 0 and _was_used(folder):
        raise StateCorruptError(f"{path} is empty, though a bundle was installed")
    connection: Optional[sqlite3.Connection] = None
    begun, read = frames_begun(path) if lock is not None else 0, 0
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
        if foreign:
            check_schema(connection, path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables - {"sqlite_sequence"} if version == 0 else not 0 < version < _ABSURD_VERSION:
            raise StateCorruptError(f"{path} is damaged, or is not the state of a device")
        if version > SCHEMA_VERSION and _said_version(connection) == str(SCHEMA_VERSION):
            raise StateCorruptError(f"{path} is damaged: its version changed by itself")
        if version > SCHEMA_VERSION:
            raise StateError(
                f"{path} has schema {version}, this edgetl-runtime knows {SCHEMA_VERSION}: a newer version wrote it;"
                " upgrade edgetl-runtime, or use another state folder"
            )
        if lock is not None:
            _make_durable(connection)
            # Asked before this start writes anything: how much SQLite could read of the journal of the last one.
            read = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1] if begun else 0
        elif version < SCHEMA_VERSION:
            connection = _copy(connection)  # a reader may not change the file, and the writer may come much later
        if version < SCHEMA_VERSION:
            create_or_migrate(connection, version)
        if lock is not None:
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
    store = Store(Database(folder, connection, lock))
    if 0 <= read < begun:
        _say(store, "the last pages of the journal could not be read", "journal", frames=begun - read)
    if lock is not None and fresh and _was_used(folder):
        _say(store, "there is no state file, though a bundle was installed", "state_missing")
    return store


def _was_used(folder: Path) -> bool:
    root = root_of(folder)
    return any((folder / "bundles").glob("*")) or (folder != root and space_folder(root, active_space(root)) == folder)


def _say(store: Store, what: str, kind: str, **detail: int) -> None:
    logger.warning("state %s: %s", store.path, what)
    with contextlib.suppress(StateError):  # a start comes up where nothing can be written, too
        store.log_event(kind, **detail)
        store.settle()  # else the next start would find the same end of the journal


def _said_version(connection: sqlite3.Connection) -> Optional[str]:
    try:
        rows = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
    except sqlite3.Error:
        return None
    return str(rows[0][0]) if rows else None


def _copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    copy.text_factory = connection.text_factory
    connection.backup(copy)
    connection.close()
    return copy


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
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")


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
    """Make a whole file of what can be read, beside the damaged one, and only then exchange them."""
    beside = begin_rescue(folder)
    try:
        held = os.dup(lock)  # the store that is made there lets go of its own
        try:
            store = _open(beside, held)
        except BaseException:
            os.close(held)
            raise
        with contextlib.closing(store):
            saved = adopt(store, folder / STATE_FILE, f"{STATE_FILE}.corrupt-1")
            store.settle()
    except BaseException:
        shutil.rmtree(str(beside), ignore_errors=True)  # the next start tries again
        raise
    aside = finish_rescue(folder)
    logger.error("%s; kept as %s, %d samples saved from it", error, aside, saved)
    return _open(folder, lock)
