"""From bytes to readings: framing apart from the port that moves the bytes, and from the schema that names them."""

from __future__ import annotations

from typing import Callable, Dict

from edgetl_runtime.framing.cobs import cobs_decode, cobs_encode
from edgetl_runtime.framing.csv_lines import CsvLines
from edgetl_runtime.framing.edgetl_frame import EdgetlFrames, Frame, decode_frame, encode_frame
from edgetl_runtime.framing.nmea import NmeaSentences
from edgetl_runtime.framing.packed import PackedFrames
from edgetl_runtime.framing.reading import Decoder, Reading
from edgetl_runtime.framing.schema import STAMP_UNITS, TYPES, Field, Schema, parse_schema
from edgetl_runtime.framing.timeline import Timeline

__all__ = [
    "FORMATS",
    "Decoder",
    "Field",
    "Frame",
    "Reading",
    "Schema",
    "Timeline",
    "cobs_decode",
    "cobs_encode",
    "decode_frame",
    "encode_frame",
    "open_decoder",
    "parse_schema",
    "timeline_of",
]

FORMATS: Dict[str, Callable[[Schema], Decoder]] = {
    "csv": CsvLines,
    "edgetl": EdgetlFrames,
    "nmea": NmeaSentences,
    "packed": PackedFrames,
}


def open_decoder(schema: Schema) -> Decoder:
    """The decoder of a schema's format."""
    return FORMATS[schema.format](schema)


def timeline_of(schema: Schema) -> Timeline:
    """How the stamps of a schema's readings are made: by its clock, else by counting at its rate, else by arrival."""
    if schema.format == "edgetl":
        return Timeline(tick_s=1e-6, bits=32)
    stamp = schema.stamp
    if stamp is None:
        return Timeline(rate_hz=schema.rate_hz)
    bits = int(stamp.type[1:]) if TYPES.get(stamp.type, "").isupper() else None
    return Timeline(tick_s=STAMP_UNITS[stamp.unit], bits=bits)
