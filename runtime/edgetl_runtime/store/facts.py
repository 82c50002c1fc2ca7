"""Small facts about a state, and the events that a person reads."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

from edgetl_runtime.store.database import Database

__all__ = ["Event", "Facts"]


@dataclass(frozen=True)
class Event:
    """Something that happened, with the number of the generation that was live then; `detail` is plain JSON."""

    id: int
    generation: int
    kind: str
    detail: Dict[str, Any]
    wall_s: float


class Facts:
    """The tables `meta` and `events`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> Optional[str]:
        """A value that was put, or None."""
        rows = self._database.query("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def put(self, values: Mapping[str, str]) -> None:
        """Store facts, all or none."""
        with self._database.change():
            for pair in values.items():
                self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", pair)

    def beginning(self, prefix: str) -> Dict[str, str]:
        """All facts whose keys begin so."""
        rows = self._database.query("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
        return {str(key): str(value) for key, value in rows}

    def log(self, generation: int, kind: str, detail: Mapping[str, Any]) -> None:
        """Add an event."""
        with self._database.change():
            self._database.execute(
                "INSERT INTO events (generation, kind, detail, wall_s) VALUES (?, ?, ?, ?)",
                (generation, kind, json.dumps(detail, sort_keys=True), time.time()),
            )

    def events(self, kinds: Sequence[str] = (), newest: int = 1000) -> List[Event]:
        """The newest events of those kinds (of all, when none is named), oldest first; unreadable ones are left out."""
        chosen = f"WHERE kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        rows = self._database.query(
            f"SELECT id, generation, kind, detail, wall_s FROM events {chosen} ORDER BY id DESC LIMIT ?",
            (*kinds, newest),
        )
        found = []
        for number, generation, kind, detail, wall_s in reversed(rows):
            try:
                found.append(Event(int(number), int(generation), str(kind), dict(json.loads(detail)), float(wall_s)))
            except (ArithmeticError, RecursionError, TypeError, ValueError):
                continue
        return found

    def newest_generation(self) -> int:
        """The highest number of a generation that an event names; 0 without one."""
        return int(self._database.query("SELECT COALESCE(MAX(generation), 0) FROM events")[0][0])

    def drop_events(self, keep: int) -> int:
        """Delete all but the newest; how many went."""
        with self._database.change():
            return self._database.execute(
                "DELETE FROM events WHERE id <= (SELECT MAX(id) FROM events) - ?", (keep,)
            ).rowcount
