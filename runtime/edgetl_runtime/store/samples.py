"""The rows of a device's state, in one SQLite file.

WAL with `synchronous=FULL`: when a method that changes something returns, a power cut loses nothing of it.
Every learnt sample is a row with a sha256 of its own, because SQLite pages carry no checksum. The rows are
the truth; statistics and heads are sums over them. Syntax of SQLite 3.31 (JetPack 5).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import StateError, StateMismatchError, UnknownSampleError
from edgetl_runtime.store.faults import SQLITE_ERRORS, state_error

__all__ = ["SCHEMA", "SCHEMA_VERSION", "STATE_FILE", "TABLES", "LearntSample", "Store", "row_intact"]

logger = logging.getLogger(__name__)

STATE_FILE = "state.sqlite"
SCHEMA_VERSION = 1
TABLES = {
    "meta": ["key", "value"],
    "samples": ["id", "generation", "label", "source", "features", "wall_s", "sha256"],
    "events": ["id", "generation", "kind", "detail", "wall_s"],
    "quarantine": ["id", "what", "row", "wall_s"],
}
SCHEMA = """
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

    def bind(self, feature_space: str, dim: int, bundle_id: Optional[str] = None) -> None:
        """Say which features (D = `dim`) are wanted; StateMismatchError when this state holds others.

        A state that this very bundle was installed in holds its features, whatever a damaged fact says.
        """
        known = self.meta("feature_space")
        same_bundle = bundle_id is not None and self.meta("bundle") == bundle_id
        if known is not None and known != feature_space and not same_bundle:
            raise StateMismatchError(
                f"the state in {self._folder} was learnt with another bundle (feature space {known[:12]}, this bundle"
                f" has {feature_space[:12]}): their features mean different things. Use another state folder"
            )
        self._dim = dim

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._folder / STATE_FILE

    @property
    def generation(self) -> int:
        """The number of the live generation; 0 is the factory head."""
        try:
            return int(self.meta("generation") or 0)
        except ValueError:  # damaged; every change also wrote an event
            return int(self._query("SELECT COALESCE(MAX(generation), 0) FROM events")[0][0])

    def meta(self, key: str) -> Optional[str]:
        """A value that `set_meta` stored, or None."""
        rows = self._query("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, **values: str) -> None:
        """Store small facts about this state, all or none."""
        with self._change():
            self._put_meta(values)

    def log_event(self, kind: str, **detail: Any) -> None:
        """Add to the history that a person reads."""
        with self._change():
            self._event(self.generation, kind, detail, time.time())

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
    ) -> int:
        """Delete samples for good, as one new generation; how many. Their bytes are overwritten.

        Exactly one of the three selects. Raises UnknownSampleError when nothing matches.
        """
        chosen = [(k, v) for k, v in (("id", sample_id), ("label", label), ("source", source)) if v is not None]
        if len(chosen) != 1:
            raise UnknownSampleError("say what to forget: exactly one of sample_id, label, source")
        column, value = chosen[0]
        if isinstance(value, int) and not 0 < value < 2**63:
            raise UnknownSampleError(f"no learnt sample has id {value}; an id is what `learn` returned")
        with self._change():
            count = self._connection.execute(f"DELETE FROM samples WHERE {column} = ?", (value,)).rowcount
            if not count:
                raise UnknownSampleError(
                    f"no learnt sample has {column} {value!r}; nothing was forgotten."
                    " `edgetl-runtime status --samples` lists what there is"
                )
            generation = self.generation + 1
            self._event(generation, "forget", {column: value, "count": count}, time.time())
            self._put_meta({"generation": str(generation)})
        with contextlib.suppress(sqlite3.Error):  # a reader may hold the journal: then a later checkpoint does it
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def adopt(self, facts: Mapping[str, str], rows: Iterable[Tuple[Any, ...]], kept_as: str) -> int:
        """Take over what was readable of a damaged file, kept under that name; how many samples.

        Without the fact of the feature space nobody knows what the features mean, so no row is taken.
        """
        keep = {key: facts[key] for key in ("bundle", "feature_space", "dim") if key in facts}
        saved = 0
        with self._change():
            last = int(facts["generation"]) if facts.get("generation", "").isdigit() else 0
            for row in rows if "feature_space" in keep else ():
                saved += self._connection.execute(
                    "INSERT OR IGNORE INTO samples (id, generation, label, source, features, wall_s, sha256)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                ).rowcount
                last = max(last, row[1] if isinstance(row[1], int) else 0)
            self._put_meta({**keep, "generation": str(last + 1)})
            self._event(last + 1, "state_corrupt", {"kept_as": kept_as, "saved": saved}, time.time())
        return saved

    @contextlib.contextmanager
    def view(self) -> Iterator[None]:
        """All that is read in the block belongs together, also beside a process that learns."""
        if self._lock is not None:
            yield  # alone: nobody else can change anything
            return
        self._query("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def load(self, block: int = 512) -> Iterator[Tuple[List[str], NDArray[np.float32], List[str]]]:
        """All samples in order of id, as blocks of labels, features (N <= block, D) and sources.

        A row that does not match its hash is moved to quarantine and reported, never used, never deleted.
        """
        last = -(2**63)
        while True:
            rows = self._query(
                "SELECT id, label, source, features, sha256 FROM samples WHERE id > ? ORDER BY id LIMIT ?",
                (last, block),
            )
            if not rows:
                return
            last = rows[-1][0]
            good = []
            for row in rows:
                if row_intact(*row[1:]) and len(row[3]) == 4 * self._dim:
                    good.append(row)
                else:
                    self._quarantine(row[0])
            if good:
                yield [row[1] for row in good], self._matrix([row[3] for row in good]), [row[2] for row in good]

    def samples(self) -> List[LearntSample]:
        """What was learnt, in order of id."""
        rows = self._query("SELECT id, label, source, generation, wall_s FROM samples ORDER BY id")
        return [LearntSample(*row) for row in rows]

    def quarantined(self) -> int:
        """Number of rows that were found damaged and set aside."""
        return int(self._query("SELECT COUNT(*) FROM quarantine")[0][0])

    def kept_aside(self) -> List[str]:
        """Names of damaged state files that are kept in the folder."""
        return sorted(path.name for path in self._folder.glob(f"{STATE_FILE}.corrupt-?"))

    def close(self) -> None:
        """Release the file and the writer's lock; harmless when repeated."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _quarantine(self, sample_id: int) -> None:
        logger.error("state %s: sample %d does not match its hash; set aside, not used", self.path, sample_id)
        if self._lock is None:
            return
        with self._change():
            self._connection.execute(
                "INSERT OR REPLACE INTO quarantine (id, what, row, wall_s)"
                " SELECT id, COALESCE(label || char(10) || source, ''), COALESCE(features, ''), ? FROM samples"
                " WHERE id = ?",
                (time.time(), sample_id),
            )
            self._connection.execute("DELETE FROM samples WHERE id = ?", (sample_id,))
            # The head is another one without it, so it gets a number of its own.
            generation = self.generation + 1
            self._event(generation, "quarantine", {"id": sample_id}, time.time())
            self._put_meta({"generation": str(generation)})

    def _matrix(self, blobs: Sequence[bytes]) -> NDArray[np.float32]:
        return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), self._dim).astype(np.float32)

    def _put_meta(self, values: Mapping[str, str]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def _event(self, generation: int, kind: str, detail: Mapping[str, Any], wall_s: float) -> None:
        self._connection.execute(
            "INSERT INTO events (generation, kind, detail, wall_s) VALUES (?, ?, ?, ?)",
            (generation, kind, json.dumps(detail, sort_keys=True), wall_s),
        )

    def _query(self, sql: str, values: Sequence[Any] = ()) -> List[Tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except SQLITE_ERRORS as error:
            raise state_error(error, self.path) from error

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
        except SQLITE_ERRORS as error:
            raise state_error(error, self.path) from error


def row_intact(label: Any, source: Any, blob: Any, digest: Any) -> bool:
    """Does a stored sample match the hash that was stored with it?"""
    if not (isinstance(label, str) and isinstance(source, str) and isinstance(blob, bytes)):
        return False
    return bool(digest == _digest(label, source, blob))


def _digest(label: str, source: str, blob: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in (label.encode("utf-8"), source.encode("utf-8"), blob):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
