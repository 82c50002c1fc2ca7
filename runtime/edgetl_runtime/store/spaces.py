"""The states of one folder: one for each extractor, or bundle kept apart, that learnt something; one is in use.

The first is the folder itself, the others are `spaces/2`, `spaces/3`, ... Each is whole in itself, so damage of one
harms no other. The small file `active` says which one is in use: exchanging it is all that a switch is, so a cut
leaves the one or the other. Where it is damaged, the one that was switched to last is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Dict, List, Optional

from edgetl_runtime.bundle.container import open_plain, replace_file
from edgetl_runtime.errors import SourceError, StateError
from edgetl_runtime.store.faults import SQLITE_ERRORS, state_os_error
from edgetl_runtime.store.schema import STATE_FILE

__all__ = [
    "MOST_SPACES", "activate", "active_space", "list_spaces", "new_space", "noted_space", "peek",
    "remove_space", "root_of", "space_folder", "turn_of",
]  # fmt: skip

logger = logging.getLogger(__name__)

MOST_SPACES = 8
_ACTIVE, _SPACES = "active", "spaces"
_MOST_NOTED_BYTES = 256
_A_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta' AND sql LIKE 'CREATE TABLE%'"  # no view
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


def space_folder(folder: Path, name: str) -> Path:
    """Where the state of that name lies; "" is the first one."""
    return folder / _SPACES / name if name else folder


def root_of(folder: Path) -> Path:
    """The state folder that a state lies in."""
    return folder.parents[1] if folder.parent.name == _SPACES else folder


def list_spaces(folder: Path) -> List[str]:
    """The names of all states there are, the first one's too; raises StateError."""
    try:
        found = [path.name for path in (folder / _SPACES).iterdir() if _NUMBER.match(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        found = []
    except OSError as error:
        raise state_os_error(error, folder) from error
    return ["", *sorted(found, key=int)]


def noted_space(folder: Path) -> Optional[str]:
    """The name in `active`; None when it is absent, damaged, or names what is not there."""
    try:
        with open_plain(folder / _ACTIVE) as file:
            said = file.read(_MOST_NOTED_BYTES)
    except OSError:
        return None
    names = [name for name in list_spaces(folder) if said == _text(name)]
    return names[0] if names else None


def active_space(folder: Path) -> str:
    """The name of the state in use."""
    if not (folder / _SPACES).is_dir():
        return ""
    noted = noted_space(folder)
    if noted is not None:
        return noted
    names = list_spaces(folder)
    if len(names) == 1:
        return ""
    return max(names, key=lambda name: turn_of(peek(space_folder(folder, name))))


def turn_of(facts: Dict[str, str]) -> int:
    """Which switch, counted over all states of a folder, led to the state with those facts; 0: none."""
    turn = facts.get("turn", "")
    return int(turn) if _NUMBER.match(turn) else 0


def activate(folder: Path, name: str) -> None:
    """Take that state from now on, durably; raises StateError, and then the other one stays."""
    try:
        replace_file(folder / _ACTIVE, _text(name))
    except SourceError as error:
        reason = error.__cause__
        raise state_os_error(reason, folder) if isinstance(reason, OSError) else StateError(str(error)) from error


def new_space(folder: Path) -> str:
    """The name of a state that is not there yet; what a cut left of one that was never in use goes."""
    active = active_space(folder)
    for name in list_spaces(folder):
        if name and name != active and not turn_of(peek(space_folder(folder, name))):
            remove_space(folder, name)
    names = list_spaces(folder)
    if len(names) >= MOST_SPACES:
        raise StateError(
            f"{folder} holds what was learnt with {len(names)} different bundles already; use another state folder"
            " (--state), or give up what the bundle in use has learnt (edgetl-runtime install --discard-learnt)"
        )
    return str(max([int(name) for name in names if name] + [1]) + 1)


def remove_space(folder: Path, name: str) -> None:
    """Remove a state that was never in use, as far as that is possible."""
    shutil.rmtree(str(space_folder(folder, name)), ignore_errors=True)
    with contextlib.suppress(OSError):  # the others are still there
        (folder / _SPACES).rmdir()


def peek(folder: Path) -> Dict[str, str]:
    """The facts of a state that this process has not opened; {} when there is none, or it cannot be read."""
    path = folder / STATE_FILE
    if not path.is_file():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute(_A_TABLE).fetchall():
                raise sqlite3.DatabaseError("it has no table of facts")
            return {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM meta")}
    except SQLITE_ERRORS as error:
        logger.warning("state %s: its facts cannot be read: %s", path, error)
        return {}


def _text(name: str) -> bytes:
    return f"{name} {hashlib.sha256(name.encode()).hexdigest()[:16]}\n".encode()
