"""Can the state folder keep what is learnt: writable, with room, on a file system that keeps its promises?"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from edgetl_runtime.board.tree import Tree

__all__ = ["NETWORK", "VOLATILE", "StateFolder", "examine_state_folder", "file_system_of"]

# SQLite's write-ahead log needs memory shared between processes, which these do not give.
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs"})
# What is written there is gone at power-off (an overlay: when the container is removed).
VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})


@dataclass(frozen=True)
class StateFolder:
    """A state folder, or the nearest folder above where it is yet to be made.

    `problem` is why nothing can be written there, None where something can. `file_system` is None where
    the table of mounts could not be read.
    """

    path: str
    exists: bool
    problem: Optional[str]
    free_bytes: Optional[int]
    file_system: Optional[str]


def examine_state_folder(path: str) -> StateFolder:
    """Try to write, and leave nothing behind; no folder is made."""
    folder = Path(path)
    try:
        exists = folder.exists()
        nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        nearest = nearest.resolve()
    except (OSError, ValueError, RuntimeError, StopIteration) as error:
        return StateFolder(path, False, f"cannot be looked at: {error}", None, None)
    problem: Optional[str] = None
    if not nearest.is_dir():
        problem = f"{nearest} is not a folder"
    else:
        try:
            with tempfile.NamedTemporaryFile(dir=str(nearest), prefix=".edgetl-doctor-") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            problem = f"{nearest} cannot be written: {error.strerror or error}"
    try:
        free: Optional[int] = shutil.disk_usage(str(nearest)).free
    except OSError:
        free = None
    return StateFolder(path, exists, problem, free, file_system_of(nearest, Tree(Path("/"))))


def file_system_of(folder: Path, tree: Tree) -> Optional[str]:
    """Type of the file system that holds an absolute path, from the table of mounts under `tree`."""
    best: Tuple[int, Optional[str]] = (-1, None)
    for line in (tree.text("proc/self/mounts") or "").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # The kernel writes a space in a path as \040.
        point = Path(fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if (point == folder or point in folder.parents) and len(point.parts) >= best[0]:
            best = (len(point.parts), fields[2])
    return best[1]
