"""Schemas in files: TOML or JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing import Schema, parse_schema

__all__ = ["load_schema"]

_MOST_BYTES = 1 << 20


def load_schema(path: Path) -> Schema:
    """The schema of a `.toml` or `.json` file; raises SourceError that names the file and what is wrong in it."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SourceError(f"the schema {path} is larger than {_MOST_BYTES} bytes; is it one?")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"the schema {path} cannot be read: {error}") from error
    try:
        table = json.loads(text) if path.suffix == ".json" else _toml(path, text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"the schema {path} is damaged: {error}") from error
    if not isinstance(table, dict):
        raise SourceError(f"the schema {path} must be a table with a format and fields")
    try:
        return parse_schema(table)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error


def _toml(path: Path, text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise SourceError(
                f"{path}: this Python reads no TOML; pip install tomli, or write the schema as JSON"
            ) from error
    return tomllib.loads(text)
