"""The learnt state of a device: one SQLite file, the only thing that is written while a device lives.

WAL with `synchronous=FULL`: when a method that changes something returns, a power cut loses nothing of it.
Every learnt sample is a row with a sha256 of its own, because SQLite pages carry no checksum. The rows are
the truth; statistics and heads are sums over them. Syntax of SQLite 3.31 (JetPack 5).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.container import sync_folder
from edgetl_runtime.errors import (
    StateBusyError,
    StateCorruptError,
    StateError,
    StateFullError,
    StateMismatchError,
    UnknownSampleError,
)

__all__ = ["LearntSample", "Store", "open_store"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_FILE = "state.sqlite"
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL, label TEXT NOT NULL,
    source TEXT NOT NULL, features BLOB NOT NULL, wall_s REAL NOT NULL, sha256 BLOB NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL, kind TEXT NOT NULL,
    detail TEXT NOT NULL, wall_s REAL NOT NULL);
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, what TEXT NOT NULL, row BLOB NOT NULL, wall_s REAL NOT NULL);
"""


@dataclass(frozen=True)
class LearntSample:
    """One acknowledged sample, without its features. `generation` is the first that knew it."""

    id: int
    label: str
    source: str
    generation: int
    wall_s: float


class Store:
    """State of one feature space in one folder; open it with `open_store`."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Optional[int]) -> None:
        self._folder = folder
        self._connection = connection
        self._lock = lock
        self._dim = 0

    def bind(self, feature_space: str, dim: int) -> None:
        """Say which features (D = `dim`) are wanted; StateMismatchError when this state holds others."""
        known = self.meta("feature_space")
        if known is not None and known != feature_space:
            raise StateMismatchError(
                f"the state in {self._folder} was learnt with another bundle (feature space {known[:12]}, this bundle"
                f" has {feature_space[:12]}): their features mean different things. Use another state folder"
            )
        self._dim = dim

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._folder / _FILE

    @property
    def generation(self) -> int:
        """The number of the live generation; 0 is the factory head."""
        return int(self.meta("generation") or 0)

    def meta(self, key: str) -> Optional[str]:
        """A value that `set_meta` stored, or None."""
        row = self._query("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, **values: str) -> None:
        """Store small facts about this state, all or none."""
        with self._change():
            self._put_meta(values)

    def add(self, labels: Sequence[str], features: NDArray[np.float32], source: str) -> List[int]:
        """Make samples (features (N, D) float32) durable as one new generation; ids in the same order."""
        wall_s = time.time()
        ids = []
        with self._change():
            generation = self.generation + 1
            for label, row in zip(labels, features):
                blob = np.ascontiguousarray(row, dtype="<f4").tobytes()
                cursor = self._connection.execute(
                    "INSERT INTO samples (generation, label, source, features, wall_s, sha256)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (generation, label, source, blob, wall_s, _digest(label, source, blob)),
                )
                ids.append(int(cursor.lastrowid or 0))
            self._event(generation, "learn", {"first": ids[0], "last": ids[-1], "count": len(ids)}, wall_s)
            self._put_meta({"generation": str(generation)})
        return ids

    def remove(
        self, *, sample_id: Optional[int] = None, label: Optional[str] = None, source: Optional[str] = None
    ) -> Tuple[List[str], NDArray[np.float32]]:
        """Delete samples for good, as one new generation; returns their labels and features (N, D).

        Exactly one of the three selects. Raises UnknownSampleError when nothing matches.
        """
        chosen = [(k, v) for k, v in (("id", sample_id), ("label", label), ("source", source)) if v is not None]
        if len(chosen) != 1:
            raise UnknownSampleError("say what to forget: exactly one of sample_id, label, source")
        column, value = chosen[0]
        with self._change():
            rows = self._query(
                f"SELECT label, features FROM samples WHERE {column} = ? ORDER BY id", (value,)
            ).fetchall()
            if not rows:
                raise UnknownSampleError(f"no learnt sample has {column} {value!r}; `status` lists what there is")
            generation = self.generation + 1
            self._connection.execute(f"DELETE FROM samples WHERE {column} = ?", (value,))
            self._event(generation, "forget", {column: value, "count": len(rows)}, time.time())
            self._put_meta({"generation": str(generation)})
        return [row[0] for row in rows], self._matrix([row[1] for row in rows])

    def load(self, block: int = 512) -> Iterator[Tuple[List[str], NDArray[np.float32]]]:
        """All samples in order of id, as blocks of labels and features (N <= block, D).

        A row that does not match its hash is moved to quarantine and reported, never used, never deleted.
        """
        last = 0
        while True:
            rows = self._query(
                "SELECT id, label, source, features, sha256 FROM samples WHERE id > ? ORDER BY id LIMIT ?",
                (last, block),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            good = []
            for row in rows:
                if self._intact(row):
                    good.append(row)
                else:
                    self._quarantine(row[0])
            if good:
                yield [row[1] for row in good], self._matrix([row[3] for row in good])

    def samples(self) -> List[LearntSample]:
        """What was learnt, in order of id."""
        rows = self._query("SELECT id, label, source, generation, wall_s FROM samples ORDER BY id")
        return [LearntSample(*row) for row in rows]

    def counts(self) -> Dict[str, int]:
        """Number of learnt samples by label."""
        return dict(self._query("SELECT label, COUNT(*) FROM samples GROUP BY label ORDER BY label").fetchall())

    def quarantined(self) -> int:
        """Number of rows that were found damaged and set aside."""
        return int(self._query("SELECT COUNT(*) FROM quarantine").fetchone()[0])

    def log_event(self, kind: str, **detail: Any) -> None:
        """Add to the history that a person reads."""
        with self._change():
            self._event(self.generation, kind, detail, time.time())

    def close(self) -> None:
        """Release the file and the writer's lock; harmless when repeated."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _intact(self, row: Tuple[Any, ...]) -> bool:
        _, label, source, blob, digest = row
        return (
            isinstance(label, str)
            and isinstance(source, str)
            and isinstance(blob, bytes)
            and len(blob) == 4 * self._dim
            and digest == _digest(label, source, blob)
        )

    def _quarantine(self, sample_id: int) -> None:
        logger.error("state %s: sample %d does not match its hash; set aside, not used", self.path, sample_id)
        if self._lock is None:
            return
        with self._change():
            self._connection.execute(
                "INSERT OR REPLACE INTO quarantine (id, what, row, wall_s)"
                " SELECT id, label || char(10) || source, features, ? FROM samples WHERE id = ?",
                (time.time(), sample_id),
            )
            self._connection.execute("DELETE FROM samples WHERE id = ?", (sample_id,))
            self._event(self.generation, "quarantine", {"id": sample_id}, time.time())

    def _matrix(self, blobs: Sequence[bytes]) -> NDArray[np.float32]:
        return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), self._dim).astype(np.float32)

    def _put_meta(self, values: Mapping[str, str]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def _event(self, generation: int, kind: str, detail: Mapping[str, Any], wall_s: float) -> None:
        self._connection.execute(
            "INSERT INTO events (generation, kind, detail, wall_s) VALUES (?, ?, ?, ?)",
            (generation, kind, json.dumps(detail, sort_keys=True), wall_s),
        )

    def _query(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise _typed(error, self.path) from error

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction: durable when the block ends, or nothing at all."""
        if self._lock is None:
            raise StateError(f"{self.path} was opened for reading only; open the session without read_only")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _typed(error, self.path) from error


def open_store(folder: Path, *, read_only: bool = False) -> Store:
    """Open, or create, the state in `folder`, which must exist; `bind` it to a feature space before learning.

    One writer at a time holds a lock; `read_only` needs none. Raises StateBusyError when another process
    writes it, StateFullError, StateError. A file that is not a database any more is renamed, reported, and
    a fresh state is started: a device must always come up.
    """
    lock = None if read_only else _lock(folder)
    try:
        try:
            return _open(folder, lock)
        except StateCorruptError as error:
            if lock is None:
                raise
            aside = _set_aside(folder)
            logger.error("%s; kept as %s, starting from the factory head", error, aside)
            store = _open(folder, lock)
            store.log_event("state_corrupt", kept_as=aside.name)
            return store
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise


def _open(folder: Path, lock: Optional[int]) -> Store:
    path = folder / _FILE
    fresh = not path.exists()
    if fresh and lock is None:
        raise StateError(f"{folder} holds no state to read; install a bundle there: edgetl-runtime install BUNDLE")
    mode = "ro" if lock is None else "rwc"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=0.1,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise _typed(error, path) from error
    try:
        if lock is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StateError(
                f"{path} has schema {version}, this edgetl-runtime knows {SCHEMA_VERSION}: a newer version wrote it;"
                " upgrade edgetl-runtime, or use another state folder"
            )
        if version == 0 and lock is not None:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise StateCorruptError(f"{path} is damaged")
        if fresh:
            sync_folder(folder)  # SQLite syncs the folder for its journal, not for the database itself
    except sqlite3.Error as error:
        connection.close()
        raise _typed(error, path) from error
    except BaseException:
        connection.close()
        raise
    return Store(folder, connection, lock)


def _lock(folder: Path) -> int:
    try:
        descriptor = os.open(str(folder / "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _from_os(error, folder) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateBusyError(
            f"another process is learning in {folder}; stop it, or open this one with read_only"
        ) from error
    return descriptor


def _set_aside(folder: Path) -> Path:
    """Rename a file that is no database any more, with its journal; at most the three newest are kept."""
    path = folder / _FILE
    for number in range(1, 4):
        target = folder / f"{_FILE}.corrupt-{number}"
        if not target.exists():
            break
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.replace(Path(f"{target}{suffix}"))
    return target


def _digest(label: str, source: str, blob: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in (label.encode("utf-8"), source.encode("utf-8"), blob):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _typed(error: sqlite3.Error, path: Path) -> StateError:
    text = str(error)
    if "full" in text:
        return StateFullError(f"no room to write {path} ({text}); free some space, nothing was changed")
    if "locked" in text or "busy" in text:
        return StateBusyError(f"{path} is busy ({text}); try again, nothing was changed")
    if "not a database" in text or "malformed" in text:
        return StateCorruptError(f"{path} is damaged ({text})")
    return StateError(f"{path}: {text}; nothing was changed")


def _from_os(error: OSError, path: Path) -> StateError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StateFullError(f"no room to write in {path}; free some space, nothing was changed")
    return StateError(f"cannot use {path} as a state folder: {error.strerror or error}")
