"""NMEA 0183 sentences, as positioning receivers, wind sensors and depth sounders send them.

    $GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A

Its checksum is eight bits by exclusive or: about one damaged sentence in 200 passes. A field of unit "deg" that
is followed by N, S, E or W is read as degrees and minutes (ddmm.mmmm) with that sign.
"""

from __future__ import annotations

import re
from typing import Dict, List

from edgetl_runtime.framing.checksums import CHECKSUMS
from edgetl_runtime.framing.reading import Assembly, Reading
from edgetl_runtime.framing.schema import Field, Schema
from edgetl_runtime.framing.splitting import Splitter

__all__ = ["NmeaSentences"]

_SENTENCE = re.compile(rb"[$!]([A-Z0-9]{3,8}),([^$!*]*)\*([0-9A-Fa-f]{2})")
_NUMBER = re.compile(rb"[+-]?\d+(\.\d*)?")
_SIGNS = {b"N": 1.0, b"E": 1.0, b"S": -1.0, b"W": -1.0}
_MOST_BYTES = 256  # 82 by the standard; receivers send more


class NmeaSentences:
    """Readings of one kind of sentence; others are counted, not damaged. Empty fields make no reading."""

    def __init__(self, schema: Schema) -> None:
        self._assembly = Assembly(schema)
        self._fields = [(field.index or number, field) for number, field in enumerate(schema.fields, start=1)]
        self._sentence = schema.sentence.encode()
        self._splitter = Splitter(b"\n", _MOST_BYTES)
        self._counts = dict.fromkeys(("checksum", "columns", "empty", "other_sentence", "text"), 0)

    @property
    def faults(self) -> Dict[str, int]:
        """Sentences that gave no reading, by reason."""
        return {**self._counts, "too_long": self._splitter.too_long}

    @property
    def waiting_bytes(self) -> int:
        """What is kept of an unfinished sentence."""
        return self._splitter.waiting_bytes

    def reset(self) -> None:
        """Forget the unfinished sentence: the line was cut."""
        self._splitter.reset()

    def feed(self, data: bytes) -> List[Reading]:
        """The readings that these bytes finish, in order."""
        readings = []
        for line in self._splitter.feed(data):
            line = line.strip()
            if not line:
                continue
            try:
                readings.append(self._assembly.reading(self._numbers(line)))
            except ValueError as error:
                self._counts[str(error)] += 1
        return readings

    def _numbers(self, line: bytes) -> List[float]:
        found = _SENTENCE.fullmatch(line, max(line.rfind(b"$"), line.rfind(b"!"), 0))
        if not found:
            raise ValueError("text")
        name, content, said = found.groups()
        if CHECKSUMS["xor8"].value(name + b"," + content) != int(said, 16):
            raise ValueError("checksum")
        if name != self._sentence and name[-len(self._sentence) :] != self._sentence:
            raise ValueError("other_sentence")
        cells = [name, *content.split(b",")]
        return [_value(cells, index, field) for index, field in self._fields]


def _value(cells: List[bytes], index: int, field: Field) -> float:
    if index >= len(cells):
        raise ValueError("columns")
    cell = cells[index].strip()
    if field.use == "skip":
        return 0.0
    if not cell:
        raise ValueError("empty")
    if not _NUMBER.fullmatch(cell):
        raise ValueError("text")
    number = float(cell)
    sign = _SIGNS.get(cells[index + 1].strip()) if field.unit == "deg" and index + 1 < len(cells) else None
    if sign is None:
        return number
    degrees = number // 100
    return sign * (degrees + (number - 100 * degrees) / 60)
