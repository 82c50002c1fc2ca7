"""The tables of a device's state, how one version becomes the next, and the hash that seals a row.

A new state is made as version 1 and migrated, so every state has the same form and every start of a new device
rehearses the migration. SQLite pages carry no checksum, so each row that holds learnt state has a sha256 of all
its columns. Syntax of SQLite 3.31 (JetPack 5).
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from typing import Any, Sequence

__all__ = ["SCHEMA_VERSION", "STATE_FILE", "TABLES", "create_or_migrate", "sample_intact", "seal"]

STATE_FILE = "state.sqlite"
SCHEMA_VERSION = 2
TABLES = {
    "meta": ["key", "value"],
    "samples": ["id", "generation", "label", "source", "features", "wall_s", "sha256", "role", "trial", "mono_s"],
    "events": ["id", "generation", "kind", "detail", "wall_s"],
    "quarantine": ["id", "what", "row", "wall_s"],
    "generations": [
        "number", "parent", "kind", "upto", "samples", "feature_space", "evidence", "state", "mono_s", "wall_s",
        "head", "sha256",
    ],
    "pointer": ["id", "active", "previous", "newest", "starts", "since", "guard", "sha256"],
    "statistics": ["id", "upto", "samples", "labels", "sources", "feature_space", "state", "sha256"],
}  # fmt: skip

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL, label TEXT NOT NULL,
    source TEXT NOT NULL, features BLOB NOT NULL, wall_s REAL NOT NULL, sha256 BLOB NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL, kind TEXT NOT NULL,
    detail TEXT NOT NULL, wall_s REAL NOT NULL);
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, what TEXT NOT NULL, row BLOB NOT NULL, wall_s REAL NOT NULL);
"""

# No row is rewritten: a full disk, or a cut, cannot stand between a device and its new version.
_TO_VERSION_2 = """
ALTER TABLE samples ADD COLUMN role TEXT NOT NULL DEFAULT 'train';
ALTER TABLE samples ADD COLUMN trial TEXT;
ALTER TABLE samples ADD COLUMN mono_s REAL;
CREATE TABLE generations (
    number INTEGER PRIMARY KEY, parent INTEGER NOT NULL, kind TEXT NOT NULL, upto INTEGER NOT NULL,
    samples INTEGER NOT NULL, feature_space TEXT NOT NULL, evidence TEXT NOT NULL, state TEXT NOT NULL,
    mono_s REAL NOT NULL, wall_s REAL NOT NULL, head BLOB NOT NULL, sha256 BLOB NOT NULL);
CREATE TABLE pointer (
    id INTEGER PRIMARY KEY, active INTEGER NOT NULL, previous INTEGER NOT NULL, newest INTEGER NOT NULL,
    starts INTEGER NOT NULL, since INTEGER NOT NULL, guard TEXT NOT NULL, sha256 BLOB NOT NULL);
CREATE TABLE statistics (
    id INTEGER PRIMARY KEY, upto INTEGER NOT NULL, samples INTEGER NOT NULL, labels TEXT NOT NULL,
    sources TEXT NOT NULL, feature_space TEXT NOT NULL, state BLOB NOT NULL, sha256 BLOB NOT NULL);
"""


def create_or_migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of that version (0: nothing in it) to `SCHEMA_VERSION`, in one transaction.

    What was live in version 1, the sum of all rows, becomes the first generation: its head is fitted from them
    when a session is opened, and stored then.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version == 0:
            _run(connection, _VERSION_1)
        _run(connection, _TO_VERSION_2)
        _first_generation(connection)
        # Said twice, so that a flipped bit in the one is not taken for a newer version.
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def seal(table: str, values: Sequence[Any]) -> bytes:
    """The sha256 of a row: every column but the hash itself, in the order of the table, with its type and length."""
    digest = hashlib.sha256(f"{table} {SCHEMA_VERSION}".encode())
    for value in values:
        if value is None:
            kind, data = b"n", b""
        elif isinstance(value, int):
            kind, data = b"i", str(value).encode()
        elif isinstance(value, float):
            kind, data = b"f", struct.pack("<d", value)
        elif isinstance(value, str):
            kind, data = b"s", value.encode("utf-8", "surrogatepass")
        else:
            kind, data = b"b", bytes(value)
        digest.update(kind + len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def sample_intact(row: Sequence[Any]) -> bool:
    """Does a row of `samples` match its hash, by the rule of version 2 or, as it came from there, of version 1?"""
    if len(row) != len(TABLES["samples"]):
        return False
    number, generation, label, source, blob, wall_s, digest, role, trial, mono_s = row
    if not (isinstance(label, str) and isinstance(source, str) and isinstance(blob, bytes)):
        return False
    if (role, trial, mono_s) == ("train", None, None) and digest == _seal_of_version_1(label, source, blob):
        return True
    return bool(digest == seal("samples", (number, generation, label, source, blob, wall_s, role, trial, mono_s)))


def _seal_of_version_1(label: str, source: str, blob: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in (label.encode("utf-8", "surrogatepass"), source.encode("utf-8", "surrogatepass"), blob):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _first_generation(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchall()
    events = connection.execute("SELECT COALESCE(MAX(generation), 0) FROM events").fetchone()[0]
    number = int(rows[0][0]) if rows and str(rows[0][0]).isdecimal() else int(events)
    last, count, wall_s = connection.execute("SELECT MAX(id), COUNT(*), MAX(wall_s) FROM samples").fetchone()
    connection.execute("DELETE FROM meta WHERE key = 'generation'")
    if count and number < 1:
        number = 1
    if number > 0:
        space = connection.execute("SELECT value FROM meta WHERE key = 'feature_space'").fetchall()
        named = str(space[0][0]) if space else ""
        row = (number, 0, "migrated", int(last or 0), int(count), named, "{}", "good", 0.0, float(wall_s or 0.0), b"")
        connection.execute(f"INSERT INTO generations VALUES ({', '.join('?' * 12)})", (*row, seal("generations", row)))
    pointer = (1, number, 0, number, 0, int(last or 0), "")
    connection.execute("INSERT INTO pointer VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*pointer, seal("pointer", pointer)))


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Statement by statement: `executescript` would commit the transaction first."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)
