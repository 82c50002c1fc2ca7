"""What a format gives for every frame, and how wire values become channels."""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Optional, Protocol, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.framing.schema import TYPES, Schema

__all__ = ["Assembly", "Decoder", "Reading", "layout_of"]


class Reading(NamedTuple):
    """Values (C,) float64 in the units of the schema; the device's own clock in ticks, and its count, if sent."""

    values: NDArray[np.float64]
    ticks: Optional[float]
    sequence: Optional[int]


class Decoder(Protocol):
    """One format. It never raises on bytes, whatever they are."""

    @property
    def faults(self) -> Dict[str, int]:
        """What gave no reading, by reason."""

    @property
    def waiting_bytes(self) -> int:
        """What is kept of an unfinished frame; at most two frames long."""

    def feed(self, data: bytes) -> List[Reading]:
        """The readings that these bytes finish, in order."""

    def reset(self) -> None:
        """Forget the unfinished frame: the line was cut."""


class Assembly:
    """Wire values in the order of the fields -> Reading."""

    def __init__(self, schema: Schema) -> None:
        uses = [field.use for field in schema.fields]
        self._picks = [position for position, use in enumerate(uses) if use == "channel"]
        self._all = len(self._picks) == len(uses)
        self._stamp = uses.index("stamp") if "stamp" in uses else None
        self._sequence = uses.index("sequence") if "sequence" in uses else None
        scale = np.array([field.scale for field in schema.channels])
        offset = np.array([field.offset for field in schema.channels])
        self._scale = scale if (scale != 1.0).any() else None
        self._offset = offset if offset.any() else None

    def reading(
        self, wire: Sequence[float], ticks: Optional[float] = None, sequence: Optional[int] = None
    ) -> Reading:
        """One reading; `ticks` and `sequence` where the frame carries them beside the fields."""
        values = np.array(wire if self._all else [wire[position] for position in self._picks], dtype=np.float64)
        if self._scale is not None:
            values *= self._scale
        if self._offset is not None:
            values += self._offset
        if self._stamp is not None:
            ticks = wire[self._stamp]
        if self._sequence is not None:
            counted = wire[self._sequence]
            sequence = int(counted) if abs(counted) < 2**63 else None
        return Reading(values, ticks, sequence)


def layout_of(schema: Schema) -> struct.Struct:
    """The fields of a binary schema, packed without gaps."""
    order = "<" if schema.order == "little" else ">"
    return struct.Struct(order + "".join(TYPES[field.type] for field in schema.fields))
