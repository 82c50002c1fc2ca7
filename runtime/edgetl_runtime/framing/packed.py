"""Packed binary frames of foreign devices: fixed first bytes, fixed fields, maybe a checksum.

    sync | fields | checksum

Such frames cannot be told from their own content: what looks like the first bytes may be data. With a checksum
of eight bits about one in 250 damaged frames passes, with none all do: prefer edgetl's own frame where the sender
can be changed.
"""

from __future__ import annotations

from typing import Any, Dict, List

from edgetl_runtime.framing.checksums import CHECKSUMS
from edgetl_runtime.framing.reading import Assembly, Reading, layout_of
from edgetl_runtime.framing.schema import Schema

__all__ = ["PackedFrames"]


class PackedFrames:
    """Readings of frames of one fixed length."""

    def __init__(self, schema: Schema) -> None:
        self._layout, self._assembly = layout_of(schema), Assembly(schema)
        self._sync, self._order = schema.sync, schema.order
        self._checksum = CHECKSUMS[schema.checksum] if schema.checksum else None
        self._checked_from = 0 if schema.checksum_of_sync else len(schema.sync)
        self._checked_to = len(schema.sync) + self._layout.size
        self._size = self._checked_to + (self._checksum.size_bytes if self._checksum else 0)
        self._waiting = b""
        self._counts = {"checksum": 0, "stray_bytes": 0}

    @property
    def faults(self) -> Dict[str, int]:
        """Candidates with a wrong checksum, and bytes between frames."""
        return dict(self._counts)

    @property
    def waiting_bytes(self) -> int:
        """What is kept of an unfinished frame."""
        return len(self._waiting)

    def reset(self) -> None:
        """Forget the unfinished frame: the line was cut."""
        self._waiting = b""

    def feed(self, data: bytes) -> List[Reading]:
        """The readings that these bytes finish, in order."""
        waiting, position, readings = self._waiting + data, 0, []
        while True:
            start = waiting.find(self._sync, position)
            if start < 0:
                start = max(position, len(waiting) - len(self._sync) + 1)  # they may be its beginning
                self._counts["stray_bytes"] += start - position
                break
            self._counts["stray_bytes"] += start - position
            position = start
            if start + self._size > len(waiting):
                break
            if self._is_whole(waiting, start):
                wire = self._layout.unpack_from(waiting, start + len(self._sync))
                readings.append(self._assembly.reading(wire))
                position = start + self._size
            else:
                # Not a frame, or a damaged one: the true beginning may be any later byte.
                self._counts["checksum"] += 1
                position = start + 1
        self._waiting = waiting[start:]
        return readings

    def _is_whole(self, waiting: bytes, start: int) -> bool:
        if self._checksum is None:
            return True
        order: Any = self._order
        said = int.from_bytes(waiting[start + self._checked_to : start + self._size], order)
        return said == self._checksum.value(waiting[start + self._checked_from : start + self._checked_to])
