"""Small files of a machine under a settable root: read plainly, bounded, and never trusted.

A tree may be the machine's own (`/`), a copy of a board's files, or hostile: what cannot be read is absent,
what is too long is cut, what is no text is replaced.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

__all__ = ["Tree"]

_MOST_BYTES = 64 * 1024
_MOST_NAMES = 512
_MOST_TEXT = 256


@dataclass(frozen=True)
class Tree:
    """Files under `root`; paths are relative to it, as in `etc/nvpmodel.conf`."""

    root: Path

    def read(self, path: str) -> Optional[bytes]:
        """The first 64 KiB of a regular file; None where there is none that can be read."""
        full = self.root / path
        try:
            if not self._inside(full):
                return None
            # Without O_NONBLOCK a pipe that somebody put there would hold us for ever.
            handle = os.open(str(full), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            parts, left = [], _MOST_BYTES
            while left:
                part = os.read(handle, left)
                if not part:
                    break
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        except OSError:  # sysfs refuses a read where a sensor is off
            return None
        finally:
            os.close(handle)

    def text(self, path: str) -> Optional[str]:
        """The file as text: lines kept, tabs as spaces, all else that does not print as `?`."""
        data = self.read(path)
        return None if data is None else "\n".join(_clean(line) for line in data.split(b"\n"))

    def line(self, path: str) -> Optional[str]:
        """The first line, up to a NUL and 256 characters; None where it is absent or empty."""
        data = self.read(path)
        if data is None:
            return None
        return _clean(data.split(b"\0")[0].split(b"\n")[0])[:_MOST_TEXT].strip() or None

    def strings(self, path: str) -> Tuple[str, ...]:
        """NUL-separated strings, as the device tree keeps lists; at most 64 of 256 characters."""
        data = self.read(path) or b""
        cleaned = (_clean(part)[:_MOST_TEXT].strip() for part in data.split(b"\0")[:64])
        return tuple(part for part in cleaned if part)

    def names(self, path: str) -> Tuple[str, ...]:
        """What is in a folder, sorted; empty where it cannot be read."""
        full = self.root / path
        try:
            return tuple(sorted(entry.name for entry in full.iterdir())[:_MOST_NAMES]) if self._inside(full) else ()
        except (OSError, ValueError):
            return ()

    def has(self, path: str) -> bool:
        """Whether there is anything of that name."""
        full = self.root / path
        try:
            return self._inside(full) and full.exists()
        except (OSError, ValueError):
            return False

    def _inside(self, full: Path) -> bool:
        """A copied tree keeps absolute links (`/proc/device-tree`): they must not lead to our own files."""
        root = os.path.realpath(str(self.root))
        return root == "/" or os.path.realpath(str(full)).startswith(root + os.sep)


def _clean(data: bytes) -> str:
    text = data.decode("utf-8", "replace").replace("\t", " ")
    return "".join(c if c.isprintable() else "?" for c in text)
