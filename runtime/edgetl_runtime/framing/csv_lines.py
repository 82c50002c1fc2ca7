"""Lines of numbers, as most sketches print them: `1.5,-0.2,9.8`, also `ax:1.5,ay:-0.2`, also with a checksum.

Without a checksum a damaged digit is a wrong number that nothing can see. With `checksum = "crc32"` a line ends
in `*` and eight hexadecimal digits of the CRC-32 (zlib's) of what stands before the `*`.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional

from edgetl_runtime.framing.checksums import CHECKSUMS
from edgetl_runtime.framing.reading import Assembly, Reading
from edgetl_runtime.framing.schema import Schema
from edgetl_runtime.framing.splitting import Splitter

__all__ = ["CsvLines"]

# Narrower than float(): no underscores, no hexadecimal; nan and inf pass, to be counted as what they are.
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf)", re.IGNORECASE)
_MOST_BYTES_A_FIELD = 40


class CsvLines:
    """Readings of lines that hold exactly the fields of the schema."""

    def __init__(self, schema: Schema) -> None:
        self._assembly = Assembly(schema)
        self._names = [field.name.encode() for field in schema.fields]
        self._separator = schema.separator.encode()
        self._checksum = CHECKSUMS[schema.checksum] if schema.checksum else None
        most = 16 + sum(_MOST_BYTES_A_FIELD + len(name) for name in self._names)
        # The first line may be the rest of one: "-12.5" without its beginning is a number too.
        self._splitter = Splitter(b"\n", most, from_the_middle=True)
        self._counts = dict.fromkeys(("checksum", "columns", "text"), 0)

    @property
    def faults(self) -> Dict[str, int]:
        """Lines that gave no reading, by reason."""
        return {**self._counts, "too_long": self._splitter.too_long}

    @property
    def waiting_bytes(self) -> int:
        """What is kept of an unfinished line."""
        return self._splitter.waiting_bytes

    def reset(self) -> None:
        """Forget the unfinished line: the line was cut."""
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
        if self._checksum is not None:
            line, _, said = line.rpartition(b"*")
            if _hexadecimal(said, 2 * self._checksum.size_bytes) != self._checksum.value(line):
                raise ValueError("checksum")
        cells = line.split() if self._separator == b" " else line.split(self._separator)
        if len(cells) == len(self._names) + 1 and not cells[-1].strip():
            cells.pop()  # sketches that end every value with a comma
        if len(cells) != len(self._names):
            raise ValueError("columns")
        numbers = []
        for name, cell in zip(self._names, cells):
            if b":" in cell:
                label, _, cell = cell.partition(b":")
                if label.strip() != name:
                    raise ValueError("columns")
            cell = cell.strip()
            if not _NUMBER.fullmatch(cell):
                raise ValueError("text")
            numbers.append(float(cell))
        return numbers


def _hexadecimal(text: bytes, digits: int) -> Optional[int]:
    return int(text, 16) if re.fullmatch(rb"[0-9A-Fa-f]{%d}" % digits, text) else None
