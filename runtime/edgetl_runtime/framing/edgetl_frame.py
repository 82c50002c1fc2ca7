"""edgetl's own frame: COBS and CRC-32, a sequence number and the sender's clock.

    0x00  COBS( stream u8, sequence u16, stamp u32 in microseconds, payload, CRC-32 u32 )  0x00

All little-endian; the CRC is zlib's, over everything before it. Sequence and stamp wrap around. The zero before
the frame keeps noise on an idle line out of it: a frame whose own bytes came through between two zeros is
delivered, whatever came before. Senders for boards are in `examples/`.
"""

from __future__ import annotations

import struct
import zlib
from typing import Dict, List, NamedTuple

from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing.cobs import cobs_decode, cobs_encode
from edgetl_runtime.framing.reading import Assembly, Reading, layout_of
from edgetl_runtime.framing.schema import Schema
from edgetl_runtime.framing.splitting import Splitter

__all__ = ["OVERHEAD_BYTES", "EdgetlFrames", "Frame", "decode_frame", "encode_frame"]

_HEADER = struct.Struct("<BHI")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size
MAX_PAYLOAD_BYTES = 4096


class Frame(NamedTuple):
    """One intact frame."""

    stream: int
    sequence: int
    stamp_us: int
    payload: bytes


def encode_frame(payload: bytes, sequence: int, stamp_us: int, stream: int = 0) -> bytes:
    """The bytes to send, both zeros included; raises SourceError on a payload above 4096 bytes.

    `sequence` is taken modulo 2^16, `stamp_us` modulo 2^32.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise SourceError(f"a frame carries at most {MAX_PAYLOAD_BYTES} bytes; got {len(payload)}")
    content = _HEADER.pack(stream, sequence & 0xFFFF, stamp_us & 0xFFFFFFFF) + payload
    return b"\0" + cobs_encode(content + _CRC.pack(zlib.crc32(content))) + b"\0"


def decode_frame(encoded: bytes) -> Frame:
    """The frame between two zeros; raises ValueError (its text is the reason to count) when it is damaged."""
    try:
        content = cobs_decode(encoded)
    except ValueError as error:
        raise ValueError("stuffing") from error
    if len(content) < OVERHEAD_BYTES:
        raise ValueError("length")
    if zlib.crc32(content[:-4]) != _CRC.unpack_from(content, len(content) - 4)[0]:
        raise ValueError("checksum")
    stream, sequence, stamp_us = _HEADER.unpack_from(content)
    return Frame(stream, sequence, stamp_us, content[_HEADER.size : -4])


class EdgetlFrames:
    """Readings of one stream of edgetl frames; frames of other streams and layouts are counted, not damaged."""

    def __init__(self, schema: Schema) -> None:
        self._layout, self._assembly, self._stream = layout_of(schema), Assembly(schema), schema.stream
        if self._layout.size > MAX_PAYLOAD_BYTES:
            raise SourceError(f"the fields take {self._layout.size} bytes; a frame carries {MAX_PAYLOAD_BYTES}")
        content = OVERHEAD_BYTES + self._layout.size
        self._shortest = content + 1
        self._longest = content + 1 + content // 254
        self._splitter = Splitter(b"\0", self._longest)
        self._counts = dict.fromkeys(("stuffing", "length", "checksum", "layout", "other_stream"), 0)

    @property
    def faults(self) -> Dict[str, int]:
        """Frames that gave no reading, by reason."""
        return {**self._counts, "too_long": self._splitter.too_long}

    @property
    def waiting_bytes(self) -> int:
        """What is kept of an unfinished frame."""
        return self._splitter.waiting_bytes

    def reset(self) -> None:
        """Forget the unfinished frame: the line was cut."""
        self._splitter.reset()

    def feed(self, data: bytes) -> List[Reading]:
        """The readings that these bytes finish, in order."""
        readings = []
        for piece in self._splitter.feed(data):
            if not piece:
                continue
            try:
                frame = decode_frame(piece)
            except ValueError as error:
                # A length that cannot be is said first: it is what tells lost bytes from changed ones.
                reason = str(error) if self._shortest <= len(piece) <= self._longest else "length"
                self._counts[reason] += 1
                continue
            if frame.stream != self._stream:
                self._counts["other_stream"] += 1
            elif len(frame.payload) != self._layout.size:
                self._counts["layout"] += 1
            else:
                wire = self._layout.unpack(frame.payload)
                readings.append(self._assembly.reading(wire, frame.stamp_us, frame.sequence))
        return readings
