"""`csv://`: sensor values in a CSV, in the form from which `edgetl build` cuts windows.

    time,ax [m/s^2],ay [m/s^2],label
    0.00,0.1,9.8,walk

The first line names the columns: `time` (in seconds, or `time [ms]`), maybe `label` and `group`, and one a channel with
its unit in brackets. An empty cell is a value that is missing, NaN.
"""

from __future__ import annotations

import array
import csv
import re
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing.schema import STAMP_UNITS
from edgetl_runtime.sources.array_feed import ArrayFeed
from edgetl_runtime.sources.uri import Uri

__all__ = ["SensorTable", "column_of", "load", "read_table"]

_MOST_BYTES = 1 << 30
_UNIT = re.compile(r"^(?P<name>.*?)\s*[\[(](?P<unit>.*)[\])]$")
_TIMES = ("t", "time", "stamp", "timestamp")


class SensorTable(NamedTuple):
    """N samples of C channels: `stamps_s` (N,) in seconds, `values` (N, C); by sample a label and a group, or ""."""

    stamps_s: NDArray[np.float64]
    values: NDArray[np.float64]
    channels: Tuple[str, ...]
    units: Tuple[str, ...]
    labels: List[str]
    groups: List[str]


class _Header(NamedTuple):
    """Where the clock is and its seconds, the places of the channels with their names and units, those of words."""

    clock: int
    scale: float
    picks: List[int]
    channels: Tuple[str, ...]
    units: Tuple[str, ...]
    label: Optional[int]
    group: Optional[int]


def load(uri: Uri) -> ArrayFeed:
    """The feed of a `csv://` address."""
    rate_hz = uri.number("rate_hz")
    table = read_table(Path(uri.path))
    labels = table.labels if any(table.labels) else None
    return ArrayFeed(uri.name, table.values, table.stamps_s, table.channels, table.units, rate_hz, labels)


def read_table(path: Path) -> SensorTable:
    """The whole of such a file; raises SourceError, with the line that is wrong."""
    numbers = array.array("d")
    labels: List[str] = []
    groups: List[str] = []
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SourceError(f"{path} is larger than {_MOST_BYTES >> 20} MiB; cut it into several files")
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = ((number, cells) for number, cells in enumerate(csv.reader(file), 1) if any(cells))
            header = _header(path, next(lines, (1, []))[1])
            places = [header.clock, *header.picks]
            for number, cells in lines:
                try:
                    numbers.extend([_number(cells[place]) for place in places])
                    labels.append("" if header.label is None else cells[header.label].strip())
                    groups.append("" if header.group is None else cells[header.group].strip())
                except (IndexError, ValueError) as error:
                    raise SourceError(f"{path} line {number}: each channel must be a number: {error}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    table = np.array(numbers, np.float64).reshape(len(labels), len(places))
    return SensorTable(table[:, 0] * header.scale, table[:, 1:], header.channels, header.units, labels, groups)


def column_of(cell: str) -> Tuple[str, str]:
    """Name and unit of a header such as `ax [m/s^2]`."""
    match = _UNIT.match(cell.strip())
    return (match["name"].strip(), match["unit"].strip()) if match else (cell.strip(), "")


def _header(path: Path, cells: List[str]) -> _Header:
    columns = [column_of(cell) for cell in cells]
    names = [name for name, _ in columns]
    clock = next((place for place, name in enumerate(names) if name.lower() in _TIMES), None)
    if clock is None:
        raise SourceError(f"{path} needs a column `time` (seconds, or `time [ms]`) in its first line; it has {names}")
    unit = columns[clock][1] or "s"
    if unit not in STAMP_UNITS:
        raise SourceError(f"{path}: the unit of {names[clock]} must be one of {sorted(STAMP_UNITS)}; got {unit!r}")
    label, group = (names.index(name) if name in names else None for name in ("label", "group"))
    picks = [place for place in range(len(names)) if place not in (clock, label, group)]
    if not picks:
        raise SourceError(f"{path} has no column beside {names}; it needs one a channel")
    channels, units = tuple(names[place] for place in picks), tuple(columns[place][1] for place in picks)
    return _Header(clock, STAMP_UNITS[unit], picks, channels, units, label, group)


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else float("nan")
