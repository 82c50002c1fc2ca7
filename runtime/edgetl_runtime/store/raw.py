"""The samples themselves, as they came from the sensor, where a user chose to keep them: off by default, and bounded.

A bundle with another extractor learns from them what its features are. The table is made when it is first needed, so
a state that keeps none is what it always was. A trigger of the file itself deletes what belongs to a sample that goes.
"""

from __future__ import annotations

import logging
import zlib
from typing import Any, Sequence, Tuple

from numpy.typing import NDArray

from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.store.database import Database
from edgetl_runtime.store.schema import seal
from edgetl_runtime.text import text_array

__all__ = ["RAW_COLUMNS", "RAW_TRIGGER", "RawSamples"]

logger = logging.getLogger(__name__)

RAW_COLUMNS = ("id", "data", "sha256")
_MOST_SAMPLE_BYTES = 1 << 30
# As SQLite keeps it.
RAW_TRIGGER = (
    "CREATE TRIGGER raw_goes_with_its_sample AFTER DELETE ON samples BEGIN DELETE FROM raw WHERE id = OLD.id; END"
)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS raw (id INTEGER PRIMARY KEY, data BLOB NOT NULL, sha256 BLOB NOT NULL)",
    RAW_TRIGGER.replace("TRIGGER", "TRIGGER IF NOT EXISTS", 1),
)


class RawSamples:
    """The table `raw`, which need not be there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def exists(self) -> bool:
        """Whether any were ever kept here."""
        return bool(self._database.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'raw'"))

    def make(self) -> None:
        """Make the table, inside `change`."""
        for statement in _TABLE:
            self._database.execute(statement)

    def add(self, ids: Sequence[int], samples: Sequence[Any], most_bytes: int) -> None:
        """Keep N samples (arrays) beside their features; the oldest go beyond `most_bytes` of all that is kept."""
        with self._database.change():
            self.make()
            for number, sample in zip(ids, samples):
                data = zlib.compress(pack_tensors({"sample": text_array(sample)}, {}), 1)
                self._database.execute(
                    "INSERT OR REPLACE INTO raw VALUES (?, ?, ?)", (number, data, seal("raw", (number, data)))
                )
            self.drop(self.used_bytes() - most_bytes)

    def get(self, number: int) -> NDArray[Any]:
        """The sample of that id; raises KeyError when it is not kept, or is damaged."""
        try:
            unpacked = zlib.decompressobj().decompress(self.row(number)[1], _MOST_SAMPLE_BYTES)
            return unpack_tensors(unpacked, f"the stored sample {number}")[0]["sample"]
        except (EdgetlError, KeyError, zlib.error) as error:
            raise KeyError(number) from error

    def row(self, number: int) -> Tuple[Any, ...]:
        """The whole row of it, hash and all; raises KeyError as `get` does."""
        rows = self._database.query("SELECT * FROM raw WHERE id = ?", (number,)) if self.exists else []
        if not rows:
            raise KeyError(number)
        if rows[0][2] != seal("raw", rows[0][:2]):
            logger.error("state %s: the stored sample %d does not match its hash", self._database.path, number)
            raise KeyError(number)
        return rows[0]

    def ids(self) -> Sequence[int]:
        """Of which samples there is one, in order."""
        return [row[0] for row in self._database.query("SELECT id FROM raw ORDER BY id")] if self.exists else []

    def used_bytes(self) -> int:
        """What all of them take."""
        if not self.exists:
            return 0
        return int(self._database.query("SELECT COALESCE(SUM(length(data)), 0) FROM raw")[0][0])

    def drop(self, size_bytes: int) -> int:
        """Drop the oldest, so many bytes of them; how many went. What they taught stays."""
        if size_bytes <= 0 or not self.exists:
            return 0
        count = 0
        with self._database.change():
            for number, size in self._database.query("SELECT id, length(data) FROM raw ORDER BY id"):
                if size_bytes <= 0:
                    break
                self._database.execute("DELETE FROM raw WHERE id = ?", (number,))
                size_bytes -= size
                count += 1
        return count

    def insert_intact(self, row: Sequence[Any]) -> None:
        """Take over a row, hash and all, that was found intact elsewhere, if its sample was."""
        self.make()
        self._database.execute(
            "INSERT OR REPLACE INTO raw SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM samples WHERE id = ?)",
            (*row, row[0]),
        )
