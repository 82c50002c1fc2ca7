"""The one connection of a process to a state file: reading, one transaction at a time, and what may not be done."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from edgetl_runtime.errors import StateError
from edgetl_runtime.store.faults import SQLITE_ERRORS, state_error
from edgetl_runtime.store.schema import STATE_FILE

__all__ = ["Database"]


class Database:
    """An open state file; `lock` is the descriptor of the writer's lock, None for a reader."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Optional[int]) -> None:
        self.folder = folder
        self.connection = connection
        self._lock = lock
        self._opened_by = os.getpid()
        # One thread at a time: a reader of another thread must not see half a transaction of this connection.
        self._turn = threading.RLock()
        self._changing = self._viewing = False
        _OPEN.add(self)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.folder / STATE_FILE

    @property
    def writable(self) -> bool:
        """Whether this process holds the writer's lock."""
        return self._lock is not None

    def query(self, sql: str, values: Sequence[Any] = ()) -> List[Tuple[Any, ...]]:
        """All rows of a SELECT or PRAGMA; raises StateError."""
        self._check_process()
        try:
            with self._turn:
                return self.connection.execute(sql, values).fetchall()
        except SQLITE_ERRORS as error:
            raise state_error(error, self.path) from error

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement inside `change`."""
        if not self._changing:
            raise RuntimeError("a statement that changes something runs inside change()")
        return self.connection.execute(sql, values)

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """One transaction: durable when the outermost block ends, or nothing at all. Raises StateError."""
        self._check_process()
        if not self.writable:
            raise StateError(f"{self.path} was opened for reading only; open the session without read_only")
        with self._turn:
            if self._changing:
                yield
                return
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                self._changing = True
                try:
                    yield
                    self.connection.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self.connection.execute("ROLLBACK")
                    raise
                finally:
                    self._changing = False
            except SQLITE_ERRORS as error:
                raise state_error(error, self.path) from error

    @contextlib.contextmanager
    def view(self) -> Iterator[None]:
        """All that is read in the block belongs together, also beside a process that learns."""
        with self._turn:
            if self.writable or self._viewing:
                yield  # alone: nobody else can change anything
                return
            self.query("BEGIN")
            self._viewing = True
            try:
                yield
            finally:
                self._viewing = False
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")

    def version(self) -> int:
        """A number that changes when another process has changed the file; one PRAGMA, no file is read."""
        return int(self.query("PRAGMA data_version")[0][0])

    def wipe_journal(self) -> None:
        """Leave nothing in the journal of what was deleted; a reader may hold it: then a later checkpoint does it."""
        with self._turn, contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def settle(self) -> None:
        """Bring all of the journal into the one file, durably; raises StateError."""
        if self.query("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            raise StateError(f"{self.path}: another process reads it; nothing was changed")

    def close(self) -> None:
        """Release the file and the lock; harmless when repeated, and in a forked child, which owns neither."""
        if os.getpid() != self._opened_by:
            return
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def let_go_of_inherited_lock(self) -> None:
        """In a forked child: its copy of the descriptor would hold the writer's lock beyond the writer's death."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_process(self) -> None:
        if os.getpid() != self._opened_by:
            raise StateError(
                f"the state {self.path} was opened by process {self._opened_by} and this is {os.getpid()}: an open"
                " state does not survive a fork. Open a session in the process that uses it"
            )


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()


def _after_fork() -> None:
    for database in list(_OPEN):
        database.let_go_of_inherited_lock()


os.register_at_fork(after_in_child=_after_fork)
