"""The generations of a device's head, and the one pointer that says which of them is live."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Sequence

from edgetl_runtime.store.database import Database
from edgetl_runtime.store.quarantine import quarantine
from edgetl_runtime.store.schema import TABLES, seal

__all__ = ["Generation", "Generations", "Pointer", "intact_generation"]

logger = logging.getLogger(__name__)

_COLUMNS = ", ".join(TABLES["generations"])


@dataclass(frozen=True)
class Generation:
    """One immutable version of what a device learnt.

    It learnt from the training samples with id <= `upto`, `samples` of them. `parent` was live before it; 0 is the
    factory head, which has no row. `head` is safetensors, or empty: then it is the sum of those samples and is
    fitted when a session is opened (as after a migration or a merge). `evidence` is the guard's verdict. `good`
    is False once it was rolled back for being worse.
    """

    number: int
    parent: int
    kind: str
    upto: int
    samples: int
    feature_space: str
    evidence: Dict[str, Any] = field(default_factory=dict)
    good: bool = True
    mono_s: float = 0.0
    wall_s: float = 0.0
    head: bytes = b""


@dataclass(frozen=True)
class Pointer:
    """Which generation is live. `newest` is the highest number ever given, `starts` counts starts not yet confirmed.

    `guard` is the guard's state (JSON) when the pointer was moved; the samples with id > `since` came after it.
    """

    active: int = 0
    previous: int = 0
    newest: int = 0
    starts: int = 0
    since: int = 0
    guard: str = ""


class Generations:
    """The tables `generations` and `pointer`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pointer(self) -> Optional[Pointer]:
        """The pointer; None when it is absent or does not match its hash."""
        rows = self._database.query("SELECT * FROM pointer WHERE id = 1")
        if not rows or rows[0][-1] != seal("pointer", rows[0][:-1]):
            return None
        return Pointer(*rows[0][1:-1])

    def point(self, pointer: Pointer) -> None:
        """Replace the pointer."""
        row = (1, pointer.active, pointer.previous, pointer.newest, pointer.starts, pointer.since, pointer.guard)
        with self._database.change():
            self._database.execute(
                "INSERT OR REPLACE INTO pointer VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal("pointer", row))
            )

    def add(self, generation: Generation) -> None:
        """Store a generation under its number, in place of one that has it."""
        row = _row(generation)
        marks = ", ".join("?" * len(row))
        with self._database.change():
            self._database.execute(f"INSERT OR REPLACE INTO generations ({_COLUMNS}) VALUES ({marks})", row)

    def get(self, number: int) -> Optional[Generation]:
        """The intact generation of that number, or None; a damaged one is set aside and reported."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM generations WHERE number = ?", (number,))
        if not rows:
            return None
        found = intact_generation(rows[0])
        if found is None:
            quarantine(self._database, "generations", number, f"generation {number}")
        return found

    def insert_intact(self, row: Sequence[Any]) -> bool:
        """Take over a row, hash and all, that was found intact elsewhere; False when its number is taken."""
        marks = ", ".join("?" * len(row))
        cursor = self._database.execute(f"INSERT OR IGNORE INTO generations ({_COLUMNS}) VALUES ({marks})", row)
        return cursor.rowcount > 0

    def listed(self) -> List[Generation]:
        """All generations in order, without their heads; what cannot be read is left out. Hashes are not checked."""
        rows = self._database.query(
            "SELECT number, parent, kind, upto, samples, feature_space, evidence, state, mono_s, wall_s, length(head)"
            " FROM generations ORDER BY number"
        )
        found = []
        for row in rows:
            try:
                found.append(_generation((*row[:10], b"")))
            except (TypeError, ValueError):
                continue
        return found

    def numbers(self, good: bool = True) -> List[int]:
        """Numbers from the newest to the oldest; `good`: without those that turned out worse."""
        chosen = "WHERE state = 'good'" if good else ""
        rows = self._database.query(f"SELECT number FROM generations {chosen} ORDER BY number DESC")
        return [int(number) for (number,) in rows]

    def mark_bad(self, number: int) -> None:
        """Say of a generation that it turned out worse."""
        found = self.get(number)
        if found is not None:
            self.add(replace(found, good=False))

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete generations for good; their bytes are overwritten."""
        with self._database.change():
            for number in numbers:
                self._database.execute("DELETE FROM generations WHERE number = ?", (number,))

    def trim(self, keep: int, pointer: Pointer) -> List[int]:
        """Delete the oldest generations beyond `keep`, never what the pointer names nor the last two good ones."""
        needed = {pointer.active, pointer.previous, *self.numbers(good=True)[:2]}
        numbers = self.numbers(good=False)
        gone: List[int] = []
        for number in reversed(numbers):
            if len(numbers) - len(gone) <= keep:
                break
            if number not in needed:
                gone.append(number)
        self.delete(gone)
        return gone


def intact_generation(row: Sequence[Any]) -> Optional[Generation]:
    """The generation of a row of the table, or None when it does not match its hash."""
    if len(row) != len(TABLES["generations"]) or row[-1] != seal("generations", row[:-1]):
        return None
    try:
        return _generation(row[:-1])
    except (TypeError, ValueError):
        return None


def _generation(row: Sequence[Any]) -> Generation:
    number, parent, kind, upto, samples, space, evidence, state, mono_s, wall_s, head = row
    return Generation(
        int(number), int(parent), str(kind), int(upto), int(samples), str(space), dict(json.loads(evidence)),
        state == "good", float(mono_s), float(wall_s), bytes(head),
    )  # fmt: skip


def _row(generation: Generation) -> List[Any]:
    row: List[Any] = [
        generation.number, generation.parent, generation.kind, generation.upto, generation.samples,
        generation.feature_space, json.dumps(generation.evidence, sort_keys=True),
        "good" if generation.good else "bad", generation.mono_s or time.monotonic(), generation.wall_s or time.time(),
        generation.head,
    ]  # fmt: skip
    return [*row, seal("generations", row)]
