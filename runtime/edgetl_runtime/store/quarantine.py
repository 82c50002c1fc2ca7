"""Rows that do not match their hash are set aside: kept and counted, never used, never deleted."""

from __future__ import annotations

import json
import logging
import time

from edgetl_runtime.store.database import Database
from edgetl_runtime.store.schema import TABLES

__all__ = ["quarantine"]

logger = logging.getLogger(__name__)


def quarantine(database: Database, table: str, key: int, what: str) -> None:
    """Move a row of a table, found by its first column, to quarantine; a reader only reports it."""
    logger.error("state %s: %s does not match its hash; set aside, not used", database.path, what)
    if not database.writable:
        return
    names = TABLES[table]
    with database.change():
        rows = database.execute(f"SELECT * FROM {table} WHERE {names[0]} = ?", (key,)).fetchall()
        for row in rows:
            small = {name: value for name, value in zip(names, row) if not isinstance(value, bytes)}
            blobs = [value for value in row if isinstance(value, bytes)]
            said = f"{table} {json.dumps(small, sort_keys=True)}"
            database.execute(
                "INSERT INTO quarantine (what, row, wall_s) VALUES (?, ?, ?)",
                (said, max(blobs, key=len, default=b""), time.time()),
            )
        database.execute(f"DELETE FROM {table} WHERE {names[0]} = ?", (key,))
