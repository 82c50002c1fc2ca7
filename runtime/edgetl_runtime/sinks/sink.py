"""What a kind of sink is: the few members that every file here has."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Protocol

__all__ = ["Listener", "Sink"]

Listener = Callable[[str], None]


class Sink(Protocol):
    """Takes records: plain dictionaries with a `kind`."""

    @property
    def lost(self) -> int:
        """Records that it could not pass on, so far."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Pass one record on; from one thread only."""

    def close(self) -> None:
        """Release it; harmless when repeated."""
