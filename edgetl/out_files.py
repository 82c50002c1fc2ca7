"""Files that a command was told to write: looked at before minutes of work."""

from __future__ import annotations

from pathlib import Path

from edgetl_runtime.errors import SourceError

__all__ = ["checked_out", "write_page"]


def checked_out(out: str | Path) -> Path:
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


def write_page(path: Path, page: str) -> None:
    """Write one HTML page; raises SourceError."""
    try:
        path.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    except OSError as error:
        raise SourceError(f"the page {path} cannot be written: {error.strerror or error}") from error
