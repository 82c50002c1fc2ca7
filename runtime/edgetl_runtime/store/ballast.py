"""A little room kept on the disk, so that on a full one a device can still open its state and go back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["keep_ballast", "release_ballast"]

_NAME = "ballast"
_SIZE_BYTES = 256 << 10  # SQLite's shared memory, a header of its journal, and the pages of one moved pointer


def keep_ballast(folder: Path) -> None:
    """Take the room, where there is any."""
    path = folder / _NAME
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size == _SIZE_BYTES:
            return
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _SIZE_BYTES)
        except OSError:
            path.unlink()


def release_ballast(folder: Path) -> bool:
    """Give the room back; False when there was none."""
    try:
        (folder / _NAME).unlink()
    except OSError:
        return False
    return True
