"""The labelled samples of a device: features, label, source, role, and how they were judged before they taught."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import UnknownSampleError
from edgetl_runtime.store.database import Database
from edgetl_runtime.store.quarantine import quarantine
from edgetl_runtime.store.schema import TABLES, sample_intact, seal

__all__ = ["GUARD", "TRAIN", "Block", "LearntSample", "NewSample", "Samples"]

TRAIN, GUARD = "train", "guard"
_COLUMNS = ", ".join(TABLES["samples"])


@dataclass(frozen=True)
class LearntSample:
    """One acknowledged sample, without its features.

    `role` "guard": it judges heads and teaches none. `generation` was live when it came; in rows of version 1 it
    is the first that knew it.
    """

    id: int
    label: str
    source: str
    generation: int
    wall_s: float
    role: str = TRAIN


@dataclass(frozen=True)
class NewSample:
    """What `Samples.add` takes beside the features; `trial` is JSON, or None where nothing judged it."""

    label: str
    source: str = ""
    role: str = TRAIN
    trial: Optional[str] = None


class Block(NamedTuple):
    """N consecutive samples: features (N, D) float32, and N of each of the others.

    `generations` were live when they came.
    """

    ids: List[int]
    labels: List[str]
    features: NDArray[np.float32]
    sources: List[str]
    roles: List[str]
    trials: List[Optional[str]]
    generations: List[int]

    def only(self, role: str) -> Block:
        """Those of one role."""
        keep = [position for position, own in enumerate(self.roles) if own == role]
        if len(keep) == len(self.ids):
            return self
        lists: Tuple[List[Any], ...] = (self.ids, self.labels, self.sources, self.roles, self.trials, self.generations)
        ids, labels, *others = ([values[i] for i in keep] for values in lists)
        return Block(ids, labels, self.features[keep], *others)


class Samples:
    """The table `samples`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dim = 0

    def add(self, samples: Sequence[NewSample], features: NDArray[np.float32], generation: int) -> List[int]:
        """Store N samples with features (N, D), met while `generation` was live; their ids, in order."""
        now = time.time(), time.monotonic()
        ids = []
        with self._database.change():
            number = self._last_id()
            for sample, row in zip(samples, features):
                number += 1
                blob = np.ascontiguousarray(row, dtype="<f4").tobytes()
                _insert(self._database, (number, generation, sample.label, sample.source, blob, now[0]),
                        (sample.role, sample.trial, now[1]))  # fmt: skip
                ids.append(number)
        return ids

    def put(self, number: int, sample: NewSample, features: NDArray[np.float32], wall_s: float) -> None:
        """Store one under an id that it had before, with features (D,) of another extractor; inside `change`."""
        blob = np.ascontiguousarray(features, dtype="<f4").tobytes()
        _insert(self._database, (number, 0, sample.label, sample.source, blob, wall_s), (sample.role, None, None))

    def begin_after(self, number: int) -> None:
        """Give only ids beyond that one from now on; inside `change`."""
        last = max(number, self._last_id())
        self._database.execute("DELETE FROM sqlite_sequence WHERE name = 'samples'")
        self._database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('samples', ?)", (last,))

    def insert_intact(self, row: Sequence[Any]) -> bool:
        """Take over a row, hash and all, that was found intact elsewhere; False when its id is taken."""
        marks = ", ".join("?" * len(row))
        cursor = self._database.execute(f"INSERT OR IGNORE INTO samples ({_COLUMNS}) VALUES ({marks})", row)
        return cursor.rowcount > 0

    def find(
        self, *, sample_id: Optional[int] = None, label: Optional[str] = None, source: Optional[str] = None
    ) -> List[int]:
        """Ids that one of the three selects; raises UnknownSampleError when nothing matches."""
        chosen = [(k, v) for k, v in (("id", sample_id), ("label", label), ("source", source)) if v is not None]
        if len(chosen) != 1:
            raise UnknownSampleError("say what to forget: exactly one of sample_id, label, source")
        column, value = chosen[0]
        if isinstance(value, int) and not 0 < value < 2**63:
            raise UnknownSampleError(f"no learnt sample has id {value}; an id is what `learn` returned")
        rows = self._database.query(f"SELECT id FROM samples WHERE {column} = ? ORDER BY id", (value,))
        if not rows:
            raise UnknownSampleError(
                f"no learnt sample has {column} {value!r}; nothing was forgotten."
                " `edgetl-runtime status --samples` lists what there is"
            )
        return [int(number) for (number,) in rows]

    def delete(self, ids: Sequence[int]) -> None:
        """Delete samples for good; their bytes are overwritten."""
        with self._database.change():
            for number in ids:
                self._database.execute("DELETE FROM samples WHERE id = ?", (number,))

    def release(self, number: int) -> None:
        """Give a sample of the guard back to training."""
        with self._database.change():
            rows = self._database.query(f"SELECT {_COLUMNS} FROM samples WHERE id = ?", (number,))
            if not rows or not sample_intact(rows[0]):
                return
            *first, _, _, trial, mono_s = rows[0]
            # In place: what goes with a sample that is deleted stays with this one.
            self._database.execute(
                "UPDATE samples SET role = ?, sha256 = ? WHERE id = ?",
                (TRAIN, seal("samples", (*first, TRAIN, trial, mono_s)), number),
            )

    def load(
        self, since: int = 0, upto: int = 2**62, without: Sequence[int] = (), block: int = 512
    ) -> Iterator[Block]:
        """The intact samples with since < id <= upto in order of id, in blocks of at most that many.

        A row that does not match its hash is moved to quarantine and reported.
        """
        last, left_out = since, set(without)
        while True:
            rows = self._database.query(
                f"SELECT {_COLUMNS} FROM samples WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", (last, upto, block)
            )
            if not rows:
                return
            last = int(rows[-1][0])
            good = [row for row in rows if self._usable(row, left_out)]
            if good:
                features = np.frombuffer(b"".join(row[4] for row in good), dtype="<f4").reshape(len(good), self.dim)
                yield Block(
                    [row[0] for row in good], [row[2] for row in good], features.astype(np.float32),
                    [row[3] for row in good], [row[7] for row in good], [row[8] for row in good],
                    [row[1] for row in good],
                )  # fmt: skip

    def listed(self) -> List[LearntSample]:
        """All samples without their features, in order of id."""
        rows = self._database.query("SELECT id, label, source, generation, wall_s, role FROM samples ORDER BY id")
        return [LearntSample(*row) for row in rows]

    def counts(self) -> Dict[Tuple[str, str], int]:
        """How many there are of each (role, label)."""
        rows = self._database.query("SELECT role, label, COUNT(*) FROM samples GROUP BY role, label")
        return {(str(role), str(label)): int(count) for role, label, count in rows}

    def last_id(self) -> int:
        """The id that was given last; ids are never given twice."""
        with self._database.view():
            return self._last_id()

    def _last_id(self) -> int:
        rows = self._database.query("SELECT seq FROM sqlite_sequence WHERE name = 'samples'")
        held = self._database.query(
            "SELECT MAX(COALESCE((SELECT MAX(id) FROM samples), 0), COALESCE((SELECT MAX(upto) FROM statistics), 0))"
        )[0][0]
        given = rows[0][0] if rows and isinstance(rows[0][0], int) else 0
        return max(int(given), int(held), 0)

    def _usable(self, row: Sequence[Any], left_out: Set[int]) -> bool:
        if row[0] in left_out:
            return False
        if sample_intact(row) and len(row[4]) == 4 * self.dim:
            return True
        quarantine(self._database, "samples", row[0], f"sample {row[0]}")
        return False


def _insert(database: Database, first: Sequence[Any], rest: Sequence[Any]) -> None:
    row = (*first, seal("samples", (*first, *rest)), *rest)
    database.execute(f"INSERT INTO samples ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)
