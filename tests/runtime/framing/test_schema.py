"""A schema says what a sensor sends; what it cannot mean is refused with the key and what it may be."""

from __future__ import annotations

import contextlib
from typing import Any, Dict

import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing import parse_schema
from hypothesis import given
from hypothesis import strategies as st

CSV = {"format": "csv", "field": [{"name": "a"}]}
BINARY = {"format": "edgetl", "field": [{"name": "a", "type": "i16"}]}
PACKED = {"format": "packed", "sync": "aa", "field": [{"name": "a", "type": "i16"}]}
NMEA = {"format": "nmea", "sentence": "RMC", "field": [{"name": "a"}]}

WRONG = [
    ({}, "format must be one of"),
    ({"format": "mavlink"}, "format must be one of"),
    ({"format": "csv"}, r"1 to 256 \[\[field\]\]"),
    ({"format": "csv", "field": [{"name": "a"}] * 257}, r"1 to 256 \[\[field\]\]"),
    ({**CSV, "baud": 9600}, r"no key \['baud'\]"),
    ({**CSV, "rate_hz": 0}, "rate_hz must be above 0"),
    ({**CSV, "rate_hz": "100"}, "rate_hz must be a number"),
    ({**CSV, "separator": "a"}, "separator must be"),
    ({**CSV, "checksum": "sum8"}, "checksum must be one of"),
    ({**CSV, "checksum": 3}, "checksum must be of type str"),
    ({**CSV, "field": ["a"]}, "field 0 must be a table"),
    ({**CSV, "field": [{"unit": "V"}]}, "field 0 needs a name"),
    ({**CSV, "field": [{"name": "a"}, {"name": "a"}]}, "two fields have one name"),
    ({**CSV, "field": [{"name": "a", "use": "skip"}]}, "at least one field that is a channel"),
    ({**CSV, "field": [{"name": "a", "use": "label"}]}, "use must be one of"),
    ({**CSV, "field": [{"name": "a", "use": "stamp"}]}, "a stamp's unit must be one of"),
    ({**CSV, "field": [{"name": "a", "type": "f32"}]}, "csv is text"),
    ({**CSV, "field": [{"name": "a", "scale": 0}]}, "scale of 0"),
    ({**CSV, "field": [{"name": "a", "scale": True}]}, "scale must be a number"),
    ({**CSV, "field": [{"name": "a", "low": 2, "high": 1}]}, "low must be below high"),
    ({**CSV, "field": [{"name": "a", "low": float("nan")}]}, "low must be a number"),
    ({**CSV, "field": [{"name": "a", "colour": 1}]}, r"no key \['colour'\]"),
    ({**CSV, "field": [{"name": "a", "index": 1}]}, "index is for nmea"),
    ({**BINARY, "field": [{"name": "a"}]}, "type must be one of"),
    ({**BINARY, "stream": 256}, "stream must be 0..255"),
    ({**BINARY, "order": "middle"}, "order must be"),
    ({**BINARY, "field": [*BINARY["field"], {"name": "n", "type": "u8", "use": "sequence"}]}, "carries stamp"),  # type: ignore[misc]
    ({**PACKED, "sync": "xy"}, "hexadecimal"),
    ({**PACKED, "sync": ""}, "needs sync"),
    ({**PACKED, "checksum_of_sync": 1}, "of type bool"),
    ({**NMEA, "sentence": "RM*"}, "needs its sentence"),
]


@pytest.mark.parametrize(("table", "message"), WRONG)
def test_a_wrong_schema_is_refused_with_what_it_may_be(table: Dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_schema(table)


@pytest.mark.parametrize("table", [CSV, BINARY, PACKED, NMEA])
def test_the_least_is_enough(table: Dict[str, Any]) -> None:
    assert [field.name for field in parse_schema(table).channels] == ["a"]


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["format", "field", "rate_hz", "name", "use", "unit", "type", "scale", "low", "index", "sync", "order"]


@given(st.sampled_from([CSV, BINARY, PACKED, NMEA]), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_any_table_is_taken_or_refused(table: Dict[str, Any], changes: Dict[str, Any]) -> None:
    for broken in ({**table, **changes}, {**table, "field": [{**table["field"][0], **changes}]}):
        with contextlib.suppress(SourceError):
            assert parse_schema(broken).channels
