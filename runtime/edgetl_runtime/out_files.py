"""Files that a command was told to write: looked at before minutes of work."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from edgetl_runtime.errors import SourceError

__all__ = ["checked_out"]


def checked_out(out: Union[str, Path]) -> Path:
    """That path, where a file can take its name; raises SourceError.

    Files are written whole under another name first, which then takes this one: /dev/null would be gone.
    """
    path = Path(out)
    if not path.parent.is_dir():
        raise SourceError(f"there is no folder {path.parent} to write {path.name} into; make it first")
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no plain file"
        raise SourceError(f"{path} is {kind}; name the file to write")
    return path
