"""What a sensor sends, declared as data: its format, fields, units, scales, limits and rate.

A schema is a TOML or JSON table; the fields stand in the order of the wire:

    format = "csv"
    rate_hz = 100

    [[field]]
    name = "t"
    use = "stamp"          # "channel" (default), "stamp", "sequence" or "skip"
    unit = "ms"

    [[field]]
    name = "ax"
    unit = "m/s^2"
    low = -39.2            # at or beyond these the sensor is saturated
    high = 39.2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing.checksums import CHECKSUMS

__all__ = ["STAMP_UNITS", "TYPES", "Field", "Schema", "parse_schema"]

# Binary types and their struct codes.
TYPES = {
    "i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I", "i64": "q", "u64": "Q",
    "f32": "f", "f64": "d",
}  # fmt: skip
STAMP_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_USES = ("channel", "stamp", "sequence", "skip")
_BINARY = ("edgetl", "packed")
# Which keys beside `format`, `rate_hz` and `field` a format takes.
_OPTIONS = {
    "edgetl": {"stream", "order"},
    "packed": {"sync", "order", "checksum", "checksum_of_sync"},
    "csv": {"separator", "checksum"},
    "nmea": {"sentence"},
}
MAX_FIELDS = 256
_MOST = 1e300


@dataclass(frozen=True)
class Field:
    """One value of a frame: `value = raw * scale + offset`, in `unit`.

    `type` is for binary formats; `index` for NMEA, where the first value after the sentence's name is 1.
    """

    name: str
    use: str = "channel"
    unit: str = ""
    type: str = ""
    scale: float = 1.0
    offset: float = 0.0
    low: Optional[float] = None
    high: Optional[float] = None
    index: Optional[int] = None


@dataclass(frozen=True)
class Schema:
    """C channels in the order of the wire, and how they are framed. Made by `parse_schema`."""

    format: str
    fields: Tuple[Field, ...]
    rate_hz: Optional[float] = None
    stream: int = 0
    order: str = "little"
    sync: bytes = b""
    checksum: str = ""
    checksum_of_sync: bool = True
    separator: str = ","
    sentence: str = ""

    @property
    def channels(self) -> Tuple[Field, ...]:
        """The C fields that make a sample."""
        return tuple(field for field in self.fields if field.use == "channel")

    @property
    def stamp(self) -> Optional[Field]:
        """The field that holds the device's own clock."""
        return next((field for field in self.fields if field.use == "stamp"), None)


def parse_schema(declared: Mapping[str, Any]) -> Schema:
    """The record of a declared table; raises SourceError that names the key and what it may be."""
    table = dict(declared)
    kind = table.pop("format", None)
    if not isinstance(kind, str) or kind not in _OPTIONS:
        raise SourceError(f"a schema's format must be one of {sorted(_OPTIONS)}; got {kind!r}")
    rows = table.pop("field", None)
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_FIELDS:
        raise SourceError(f"a schema needs 1 to {MAX_FIELDS} [[field]] tables")
    rate_hz = _number(table.pop("rate_hz", None), "rate_hz", least=0.0)
    if unknown := sorted(set(table) - _OPTIONS[kind]):
        raise SourceError(f"a {kind} schema has no key {unknown}; it may have {sorted(_OPTIONS[kind])}")
    fields = tuple(_field(row, number, kind) for number, row in enumerate(rows))
    options = _options(kind, table)
    schema = Schema(format=kind, fields=fields, rate_hz=rate_hz, **options)
    _check_together(schema)
    return schema


def _field(row: Any, number: int, kind: str) -> Field:
    where = f"field {number}"
    if not isinstance(row, Mapping):
        raise SourceError(f"{where} must be a table with at least a name; got {row!r}")
    entries = dict(row)
    name = entries.pop("name", None)
    if not isinstance(name, str) or not name.strip():
        raise SourceError(f"{where} needs a name, a text; got {name!r}")
    where = f"field {name!r}"
    texts: Dict[str, Any] = {"use": "channel", "unit": "", "type": ""}
    texts = {key: entries.pop(key, default) for key, default in texts.items()}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise SourceError(f"{where}: {key} must be a text; got {value!r}")
    if texts["use"] not in _USES:
        raise SourceError(f"{where}: use must be one of {_USES}; got {texts['use']!r}")
    if kind in _BINARY and texts["type"] not in TYPES:
        raise SourceError(f"{where}: type must be one of {sorted(TYPES)}; got {texts['type']!r}")
    if kind not in _BINARY and texts["type"]:
        raise SourceError(f"{where}: {kind} is text, its fields have no type")
    if texts["use"] == "stamp" and texts["unit"] not in STAMP_UNITS:
        raise SourceError(f"{where}: a stamp's unit must be one of {sorted(STAMP_UNITS)}; got {texts['unit']!r}")
    numbers = {key: _number(entries.pop(key, None), f"{where}: {key}") for key in ("scale", "offset", "low", "high")}
    if numbers["scale"] == 0.0:
        raise SourceError(f"{where}: a scale of 0 makes every value the same")
    low, high = numbers["low"], numbers["high"]
    if low is not None and high is not None and low >= high:
        raise SourceError(f"{where}: low must be below high; got {low} and {high}")
    index = entries.pop("index", None)
    if index is not None and (kind != "nmea" or type(index) is not int or not 0 < index < MAX_FIELDS):
        raise SourceError(f"{where}: index is for nmea, an integer from 1 on; got {index!r}")
    if entries:
        raise SourceError(f"{where} has no key {sorted(entries)}")
    given: Dict[str, Any] = {key: value for key, value in numbers.items() if value is not None}
    return Field(name=name, index=index, **texts, **given)


def _options(kind: str, table: Dict[str, Any]) -> Dict[str, Any]:
    texts = {"order", "checksum", "separator", "sentence", "sync"}
    for key, value in table.items():
        wanted: Any = str if key in texts else bool if key == "checksum_of_sync" else int
        if type(value) is not wanted:
            raise SourceError(f"{key} must be of type {wanted.__name__}; got {value!r}")
    options = dict(table)
    if options.get("order", "little") not in ("little", "big"):
        raise SourceError(f"order must be 'little' or 'big'; got {options['order']!r}")
    if not 0 <= options.get("stream", 0) <= 255:
        raise SourceError(f"stream must be 0..255; got {options['stream']}")
    checksums = sorted(CHECKSUMS) if kind == "packed" else ["crc32", "xor8"]
    if options.get("checksum", "") not in ("", *checksums):
        raise SourceError(f"checksum must be one of {checksums}; got {options['checksum']!r}")
    if "sync" in options:
        try:
            options["sync"] = bytes.fromhex(options["sync"])
        except ValueError as error:
            raise SourceError(f"sync must be bytes in hexadecimal, like '55 51'; got {options['sync']!r}") from error
    if kind == "csv" and options.get("separator", ",") not in (",", ";", "\t", " ", "|"):
        raise SourceError(f"separator must be a comma, semicolon, tab, space or |; got {options['separator']!r}")
    return options


def _check_together(schema: Schema) -> None:
    names: List[str] = [field.name for field in schema.fields]
    if len(set(names)) != len(names):
        raise SourceError(f"two fields have one name: {names}")
    if not schema.channels:
        raise SourceError("a schema needs at least one field that is a channel")
    for use in ("stamp", "sequence"):
        if sum(field.use == use for field in schema.fields) > 1:
            raise SourceError(f"a schema has at most one {use}")
    if schema.format == "edgetl" and len(schema.channels) != sum(field.use != "skip" for field in schema.fields):
        raise SourceError("an edgetl frame carries stamp and sequence itself: its fields are channels, or skipped")
    if schema.format == "packed" and not schema.sync:
        raise SourceError("a packed schema needs sync, the bytes that every frame begins with")
    if schema.format == "nmea" and not (schema.sentence.isalnum() and schema.sentence.isascii()):
        raise SourceError("an nmea schema needs its sentence: 'RMC' for any talker, or 'GPRMC'")


def _number(value: Any, what: str, least: Optional[float] = None) -> Optional[float]:
    if value is None:
        return None
    # A whole number may be too large for any float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_MOST < value < _MOST:
        raise SourceError(f"{what} must be a number; got {value!r}")
    if least is not None and value <= least:
        raise SourceError(f"{what} must be above {least:g}; got {value!r}")
    return float(value)
