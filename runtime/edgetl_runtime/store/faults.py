"""What SQLite and the operating system say, as errors named for what the user can do."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from pathlib import Path

from edgetl_runtime.errors import StateBusyError, StateCorruptError, StateError, StateFullError

__all__ = ["SQLITE_ERRORS", "state_error", "state_os_error"]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_DAMAGE = (
    "not a database", "malformed", "unsupported file format", "no such", "syntax error", "already exists",
    "duplicate column",
)  # fmt: skip
_NEARLY_FULL_BYTES = 128 << 10


# A message about a damaged schema may not be text itself, and then Python fails to say it.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)


def state_error(error: Exception, path: Path) -> StateError:
    """The StateError for one of `SQLITE_ERRORS` on the file `path`."""
    text = str(error)
    if "full" in text or (("I/O error" in text or "unable to open" in text) and _nearly_full(path)):
        # SQLite calls it an I/O error when the disk is too full for its shared memory.
        return StateFullError(f"no room to write {path} ({text}); free some space, nothing was changed")
    if "locked" in text or "busy" in text:
        return StateBusyError(f"{path} is busy ({text}); try again, nothing was changed")
    # Python keeps the plain type for a damaged file; in 3.8 sometimes without any text.
    damaged = isinstance(error, UnicodeDecodeError) or type(error) is sqlite3.DatabaseError
    if damaged or any(word in text for word in _DAMAGE):
        return StateCorruptError(f"{path} is damaged ({text})")
    if "readonly" in text or "unable to open" in text:
        return StateError(
            f"{path} cannot be opened or written by this user ({text}); check the owner and mode of its folder"
            " and whether the disk is mounted read-only. Nothing was changed"
        )
    return StateError(f"{path}: {text}; nothing was changed")


def state_os_error(error: OSError, folder: Path) -> StateError:
    """The StateError for an error of the operating system in a state folder."""
    if error.errno in _NO_SPACE:
        return StateFullError(f"no room to write in {folder}; free some space, nothing was changed")
    return StateError(f"cannot use {folder} as a state folder: {error.strerror or error}; nothing was changed")


def _nearly_full(path: Path) -> bool:
    try:
        disk = os.statvfs(str(path.parent))
        journal = Path(f"{path}-wal")
        written_bytes = journal.stat().st_size if journal.exists() else 0
    except OSError:
        return False
    allowed_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if 0 <= allowed_bytes < written_bytes + _NEARLY_FULL_BYTES:
        return True
    return disk.f_bavail * disk.f_frsize < _NEARLY_FULL_BYTES
