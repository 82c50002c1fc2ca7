"""TOML, read the same way wherever a file of it is read: one message for what cannot be read or is of another type."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import EdgetlError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_toml"]


def read_toml(path: Path, what: str, error: type[EdgetlError]) -> tuple[dict[str, Any], str]:
    """(the document, its text); raises `error`, which says that `what` cannot be read, and where it is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except (OSError, ValueError, RecursionError) as reason:  # an endless number, or nesting, too
        raise error(f"cannot read the {what} {path}: {getattr(reason, 'strerror', None) or reason}") from reason
