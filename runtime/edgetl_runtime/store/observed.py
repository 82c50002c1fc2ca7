"""What a device has seen without labels, as one row: what must survive a restart, written rarely."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Optional

from edgetl_runtime.store.database import Database
from edgetl_runtime.store.quarantine import quarantine
from edgetl_runtime.store.schema import seal

__all__ = ["Observed", "ObservedRow"]

# Beside the sum of the oldest samples, which is row 1: no new table, so that a runtime of before opens the state.
_ID = 2


@dataclass(frozen=True)
class Observed:
    """`samples` unlabelled features of one feature space in `state` (safetensors), and plain JSON `facts` of them."""

    samples: int
    feature_space: str
    facts: Dict[str, Any] = field(default_factory=dict)
    state: bytes = b""


class ObservedRow:
    """The second row of the table `statistics`, or none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Optional[Observed]:
        """What was kept, or None; a damaged row is set aside and reported."""
        rows = self._database.query(f"SELECT * FROM statistics WHERE id = {_ID}")
        if not rows:
            return None
        try:
            if rows[0][-1] != seal("statistics", rows[0][:-1]):
                raise ValueError("it does not match its hash")
            _, _, samples, facts, _, space, state, _ = rows[0]
            return Observed(int(samples), str(space), dict(json.loads(facts)), bytes(state))
        except (TypeError, ValueError):
            quarantine(self._database, "statistics", _ID, "what was seen without labels")
            return None

    def put(self, observed: Observed) -> None:
        """Replace what was kept. No sample of it was learnt: the id up to which there are samples stays 0."""
        facts = json.dumps(observed.facts, sort_keys=True)
        row = (_ID, 0, observed.samples, facts, "[]", observed.feature_space, observed.state)
        with self._database.change():
            self._database.execute(
                "INSERT OR REPLACE INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal("statistics", row))
            )

    def size_bytes(self) -> int:
        """What the row takes; 0 without one."""
        rows = self._database.query(f"SELECT length(labels) + length(state) FROM statistics WHERE id = {_ID}")
        return int(rows[0][0]) if rows else 0

    def delete(self) -> None:
        """Forget what was kept; its bytes are overwritten."""
        with self._database.change():
            self._database.execute(f"DELETE FROM statistics WHERE id = {_ID}")
