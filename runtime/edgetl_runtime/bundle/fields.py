"""Reading an object of the manifest key by key, so that nothing in it goes unread."""

from __future__ import annotations

import re
from typing import Any, Dict, List

from edgetl_runtime.errors import BundleFormatError

__all__ = ["MAX_MEMBERS", "MEMBER_NAME", "Fields"]

MAX_MEMBERS = 64
MEMBER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


class Fields:
    """A parser consumes keys; whatever remains is an error naming the key and its place."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise BundleFormatError(f"{where}: expected an object, got {type(data).__name__}")
        self._data: Dict[str, Any] = dict(data)
        self._where = where

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def take(self, key: str, kind: type) -> Any:
        """The value of a key that must be there, and of exactly that type."""
        if key not in self._data:
            raise BundleFormatError(f"{self._where}: key {key!r} is missing")
        value = self._data.pop(key)
        if type(value) is not kind:
            raise BundleFormatError(f"{self._where}: {key!r} must be {kind.__name__}, got {type(value).__name__}")
        return value

    def take_int(self, key: str, low: int, high: int) -> int:
        """An integer of `low`..`high`."""
        value: int = self.take(key, int)
        if not low <= value <= high:
            raise BundleFormatError(f"{self._where}: {key!r} must be {low}..{high}, got {value}")
        return value

    def take_list(self, key: str, kind: type, most: int = MAX_MEMBERS) -> List[Any]:
        """At most `most` values, all of one type."""
        values: List[Any] = self.take(key, list)
        if len(values) > most or any(type(value) is not kind for value in values):
            raise BundleFormatError(f"{self._where}: {key!r} must be at most {most} values of {kind.__name__}")
        return values

    def take_name(self, key: str, pattern: re.Pattern[str]) -> str:
        """A text that matches `pattern`."""
        value: str = self.take(key, str)
        if not pattern.match(value):
            raise BundleFormatError(f"{self._where}: {key!r} is {value[:80]!r}, which does not match {pattern.pattern}")
        return value

    def finish(self) -> None:
        """Raises BundleFormatError when a key was not taken."""
        if self._data:
            raise BundleFormatError(
                f"{self._where}: unknown keys {sorted(self._data)}; a newer edgetl wrote this: upgrade edgetl-runtime"
            )
