"""A state file that came from somebody else: only plain tables of it are read.

In SQLite a table can be a view that never ends, and a constraint or a trigger is a program that runs when the file is
checked or changed (sqlite.org/security.html).
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from edgetl_runtime.errors import StateError
from edgetl_runtime.store.raw import RAW_TRIGGER

__all__ = ["check_schema"]

# What computes: constraints, generated columns, columns with defaults that are no constants, virtual tables.
_COMPUTES = re.compile(r"\b(CHECK|GENERATED|AS|COLLATE|VIRTUAL|REFERENCES)\b|DEFAULT\s*\(", re.IGNORECASE)
_MOST_OBJECTS, _MOST_WORDS = 64, 4096


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StateError unless all there is are tables without programs, and the one trigger that we make."""
    connection.execute("PRAGMA trusted_schema = OFF")  # from SQLite 3.31; older ones take no notice
    rows = connection.execute(
        "SELECT type, name, CASE WHEN typeof(sql) IN ('text', 'null') AND COALESCE(length(sql), 0) <= ? THEN sql"
        " ELSE 'VIRTUAL' END FROM sqlite_master LIMIT ?", (_MOST_WORDS, _MOST_OBJECTS + 1),
    ).fetchall()  # fmt: skip
    odd = [str(name) for kind, name, words in rows if not _plain(str(kind), words)]
    if odd or len(rows) > _MOST_OBJECTS:
        what = ascii(odd[0][:60]) if odd else f"more than {_MOST_OBJECTS} tables"
        raise StateError(
            f"{path} holds {what}, which no edgetl-runtime makes: somebody else wrote this file."
            " Leave that folder out; nothing was changed"
        )


def _plain(kind: str, words: object) -> bool:
    if kind == "table":
        return isinstance(words, str) and words.startswith("CREATE TABLE") and not _COMPUTES.search(words)
    if kind == "index":
        return words is None  # those of keys, which SQLite makes itself
    return kind == "trigger" and words == RAW_TRIGGER
