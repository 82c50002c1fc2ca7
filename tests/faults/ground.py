"""Where faults are made: a folder in memory, where a start costs milliseconds and a sync nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import tiny

__all__ = ["Ground", "made_ground"]

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 1 << 30


@dataclass(frozen=True)
class Ground:
    """A folder to work in, the folder of the tiny bundles, and how many processes may start on states."""

    work: Path
    bundles: Path
    processes: int = 2


@contextlib.contextmanager
def made_ground() -> Iterator[Ground]:
    """A ground that is gone afterwards; on disk where there is no memory for it."""
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED_BYTES
    with tempfile.TemporaryDirectory(prefix="edgetl-faults-", dir=_MEMORY if roomy else None) as folder:
        work = Path(folder) / "work"
        work.mkdir()
        yield Ground(work, tiny.make_bundles(Path(folder) / "bundles"))
