"""libfaketime, which lets a process believe in another time."""

from __future__ import annotations

from pathlib import Path

__all__ = ["faketime_library", "remove_leftovers"]


def faketime_library() -> Path | None:
    """The library to preload, where it is installed.

    Not by the command `faketime`: it refuses where an older process that had its number left a semaphore.
    """
    found = sorted(Path("/usr/lib").glob("**/libfaketime.so.1"))
    return found[0] if found else None


def remove_leftovers(pid: int) -> None:
    """Remove what libfaketime leaves of the process `pid` that has ended."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        Path("/dev/shm", name).unlink(missing_ok=True)
