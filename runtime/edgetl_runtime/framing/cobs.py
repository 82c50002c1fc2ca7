"""Consistent overhead byte stuffing: bytes without a zero, so that a zero can end a frame.

Cheshire and Baker, "Consistent Overhead Byte Stuffing", SIGCOMM 1997. It costs one byte in 254; whatever
happened before, a reader is in step again at the next zero.
"""

from __future__ import annotations

from typing import List

__all__ = ["cobs_decode", "cobs_encode"]

_LONGEST = 254  # bytes that one code byte can announce


def cobs_encode(data: bytes) -> bytes:
    """`data` without zeros, at most one byte in 254 and one more longer; without a delimiter."""
    encoded = bytearray()
    for group in data.split(b"\0"):
        while len(group) >= _LONGEST:
            encoded.append(255)
            encoded += group[:_LONGEST]
            group = group[_LONGEST:]
        encoded.append(len(group) + 1)
        encoded += group
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes:
    """What `cobs_encode` was given; raises ValueError for bytes that it never makes.

    Stray zeros are found, and lengths that point outside; other damage is left to a checksum.
    """
    parts: List[bytes] = []
    position, end = 0, len(encoded)
    while position < end:
        code = encoded[position]
        stop = position + code
        if not code or stop > end:
            raise ValueError(f"no COBS: {code} at byte {position} of {end}")
        parts.append(encoded[position + 1 : stop])
        if code < 255 and stop < end:
            parts.append(b"\0")
        position = stop
    return b"".join(parts)
