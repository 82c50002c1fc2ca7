"""The real numbers that a head gives which has no classes: their names, units and ranges (format 1.1)."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edgetl_runtime.bundle.fields import Fields
from edgetl_runtime.errors import BundleFormatError
from edgetl_runtime.types import Output

__all__ = ["MAX_OUTPUTS", "check_outputs", "dump_outputs", "parse_outputs"]

MAX_OUTPUTS = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}\Z")
# Nothing that a terminal obeys, that ends a line or turns it around, and no half of a character.
_UNIT = re.compile("[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]{0,16}\\Z")


def dump_outputs(outputs: Sequence[Output]) -> List[Dict[str, Any]]:
    """Outputs as plain data; a side on which the range is open is left out."""
    rows: List[Dict[str, Any]] = []
    for output in outputs:
        row: Dict[str, Any] = {"name": output.name, "unit": output.unit}
        row.update({key: getattr(output, key) for key in ("low", "high") if getattr(output, key) is not None})
        rows.append(row)
    return rows


def parse_outputs(rows: Sequence[Any]) -> Tuple[Output, ...]:
    """The records of that data; raises BundleFormatError."""
    found = []
    for number, row in enumerate(rows):
        fields = Fields(row, f"manifest: outputs[{number}]")
        low: Optional[float] = fields.take("low", float) if "low" in fields else None
        high: Optional[float] = fields.take("high", float) if "high" in fields else None
        found.append(Output(fields.take_name("name", _NAME), fields.take_name("unit", _UNIT), low, high))
        fields.finish()
    check_outputs(found)
    return tuple(found)


def check_outputs(outputs: Sequence[Output]) -> None:
    """Raises BundleFormatError for names or ranges that cannot be."""
    names = [output.name for output in outputs]
    if len(outputs) > MAX_OUTPUTS or len(set(names)) != len(names):
        raise BundleFormatError(f"manifest: at most {MAX_OUTPUTS} outputs, no two of one name; got {names[:20]}")
    for output in outputs:
        if not _NAME.match(output.name) or not _UNIT.match(output.unit):
            raise BundleFormatError(
                f"manifest: an output is named by a letter and up to 31 letters, digits, _ . or -, with a unit of up to"
                f" 16 characters; got {output.name[:40]!r} in {output.unit[:40]!r}"
            )
        if output.low is not None and output.high is not None and not output.low < output.high:
            raise BundleFormatError(f"manifest: the range of {output.name} is empty: {output.low} to {output.high}")
