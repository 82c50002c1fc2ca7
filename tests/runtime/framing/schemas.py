"""A schema of each format, and the bytes that a device of that format sends."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Callable, Dict, List, NamedTuple

from edgetl_runtime.framing import Schema, encode_frame, parse_schema

IMU = ["ax", "ay", "az", "gx", "gy", "gz"]


def fields(kind: str = "") -> List[Dict[str, Any]]:
    return [{"name": name, "unit": "m/s^2", **({"type": kind} if kind else {})} for name in IMU]


class Sender(NamedTuple):
    """How a device frames the row of integers that is its `number`th sample."""

    schema: Schema
    send: Callable[[int, List[int]], bytes]


def _text(number: int, row: List[int]) -> str:
    return ",".join(str(value) for value in [number * 10, *row])


def _csv_crc(number: int, row: List[int]) -> bytes:
    text = _text(number, row).encode()
    return text + b"*%08X\r\n" % zlib.crc32(text)


def _packed(number: int, row: List[int]) -> bytes:
    body = b"\x55\x51" + struct.pack(">I6h", number * 1000, *row)
    return body + struct.pack(">I", zlib.crc32(body))


def _nmea(number: int, row: List[int]) -> bytes:
    body = f"PIMU,{_text(number, row)}".encode()
    folded = 0
    for byte in body:
        folded ^= byte
    return b"$%b*%02X\r\n" % (body, folded)


_STAMP = {"name": "t", "use": "stamp", "unit": "ms"}
SENDERS: Dict[str, Sender] = {
    "edgetl": Sender(
        parse_schema({"format": "edgetl", "rate_hz": 100, "field": fields("i16")}),
        lambda number, row: encode_frame(struct.pack("<6h", *row), number, number * 10_000),
    ),
    "csv": Sender(
        parse_schema({"format": "csv", "rate_hz": 100, "field": [_STAMP, *fields()]}),
        lambda number, row: _text(number, row).encode() + b"\r\n",
    ),
    "csv with crc32": Sender(
        parse_schema({"format": "csv", "checksum": "crc32", "rate_hz": 100, "field": [_STAMP, *fields()]}),
        _csv_crc,
    ),
    "nmea": Sender(
        parse_schema({"format": "nmea", "sentence": "IMU", "rate_hz": 100, "field": [_STAMP, *fields()]}),
        _nmea,
    ),
    "packed": Sender(
        parse_schema(
            {
                "format": "packed", "sync": "55 51", "order": "big", "checksum": "crc32", "rate_hz": 100,
                "field": [{"name": "t", "type": "u32", "use": "stamp", "unit": "us"}, *fields("i16")],
            }
        ),
        _packed,
    ),
}  # fmt: skip
