"""Files that a command was told to write: looked at before minutes of work."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Union

from edgetl_runtime.errors import SourceError

__all__ = ["checked_out"]


def checked_out(out: Union[str, Path]) -> Path:
    """That path, where a file can take its name; raises SourceError.

    Files are written whole under another name first, which then takes this one: /dev/null would be gone.
    """
    path = Path(out)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not path.parent.is_dir():
            raise SourceError(f"there is no folder {path.parent} to write {path.name} into; make it first") from None
        return path
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise SourceError(f"cannot write {str(path)[:80]!r}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no plain file'}; name the file to write")
    return path
