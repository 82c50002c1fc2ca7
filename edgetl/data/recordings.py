"""Recordings of sensors with their labels: from WAV, from a CSV of sensor values, and from what a device records."""

from __future__ import annotations

import csv
import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing.schema import STAMP_UNITS
from edgetl_runtime.sources import open_source
from edgetl_runtime.types import Label
from numpy.typing import NDArray

__all__ = ["RECORDING_SUFFIXES", "Recording", "column_of", "read_recordings"]

RECORDING_SUFFIXES = (".wav", ".csv", ".mcap", ".bag", ".db3")
AUDIO_CHANNEL, AUDIO_UNIT = "audio", "FS"
_UNIT = re.compile(r"^(?P<name>.*?)\s*[\[(](?P<unit>.*)[\])]$")
_TIMES = ("t", "time", "stamp", "timestamp")


@dataclass(frozen=True, eq=False)
class Recording:
    """N samples of C channels: `stamps_s` (N,) in seconds, `values` (N, C).

    `labels` is one for all, or an array (N,) of them, "" where there is none. `group` is who or where it was (default:
    each recording is one of its own). `channels` and `units` name the columns. A recording that is too short for one
    window is padded at both ends with `fill`, such as the 0 of silence, or left out where that is None.
    """

    name: str
    stamps_s: NDArray[np.float64]
    values: NDArray[np.float64]
    labels: Label | NDArray[Any] = ""
    group: str = ""
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    rate_hz: float | None = None
    fill: float | None = None

    def rows(self, which: Any) -> Recording:
        """Only these of its samples."""
        labels = self.labels[which] if isinstance(self.labels, np.ndarray) else self.labels
        return replace(self, stamps_s=self.stamps_s[which], values=self.values[which], labels=labels)


def read_recordings(path: Path | str, label: Label = "", group: str = "") -> list[Recording]:
    """What a .wav, a .csv of sensor values, or any recorded source (`edgetl_runtime.sources`) holds.

    A CSV has a header: `time` (seconds, or `time [ms]`), maybe `label` and `group`, and the channels, with their
    units in brackets: `ax [m/s^2]`. Rows of another group begin another recording. Raises SourceError.
    """
    suffix = Path(path).suffix.lower() if "://" not in str(path) else ""
    if suffix == ".wav":
        return [_wav(Path(path), label, group)]
    if suffix == ".csv":
        return _csv(Path(path), label, group)
    return [_source(str(path), label, group)]


def _wav(path: Path, label: Label, group: str) -> Recording:
    """PCM of 8 to 32 bits as shares of full scale, the mean of its channels."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise SourceError(f"{path} cannot be read as WAV: {error or 'it ends too early'}; PCM is read") from error
    data = data[: len(data) // (width * channels) * width * channels]
    if width == 1:
        values = np.frombuffer(data, np.uint8).astype(np.float64) / 128.0 - 1.0
    elif width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = padded.view("<i4")[:, 0] / 2.0**31
    else:
        values = np.frombuffer(data, f"<i{width}") / 2.0 ** (8 * width - 1)
    mono = values.reshape(-1, channels).mean(axis=1, keepdims=True)
    return Recording(
        str(path), np.arange(len(mono)) / rate, mono, label, group, (AUDIO_CHANNEL,), (AUDIO_UNIT,), float(rate), 0.0
    )


def _csv(path: Path, label: Label, group: str) -> list[Recording]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(file), 1) if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    header = [column_of(cell) for cell in lines[0][1]] if lines else []
    names = [name for name, _ in header]
    clock = next((name for name in names if name.lower() in _TIMES), None)
    if clock is None:
        raise SourceError(f"{path} needs a column `time` (seconds, or `time [ms]`) in its first line; it has {names}")
    clock_unit = header[names.index(clock)][1] or "s"
    if clock_unit not in STAMP_UNITS:
        raise SourceError(f"{path}: the unit of {clock} must be one of {sorted(STAMP_UNITS)}; got {clock_unit!r}")
    words = {name: names.index(name) for name in ("label", "group") if name in names}
    picks = [place for place, name in enumerate(names) if name != clock and name not in words]
    if not picks:
        raise SourceError(f"{path} has no column beside {names}; it needs one a channel")
    table = np.array([_numbers(path, number, cells, [names.index(clock), *picks]) for number, cells in lines[1:]])
    table = table.reshape(len(lines) - 1, 1 + len(picks))
    labels: Any = np.array([cells[words["label"]].strip() for _, cells in lines[1:]]) if "label" in words else label
    groups = [cells[words["group"]].strip() if "group" in words else group for _, cells in lines[1:]]
    whole = Recording(
        str(path), table[:, 0] * STAMP_UNITS[clock_unit], table[:, 1:], labels, group,
        tuple(names[place] for place in picks), tuple(header[place][1] for place in picks),
    )  # fmt: skip
    edges = [0, *(place for place in range(1, len(groups)) if groups[place] != groups[place - 1]), len(groups)]
    return [replace(whole.rows(slice(a, b)), group=groups[a]) for a, b in pairwise(edges) if b > a]


def column_of(cell: str) -> tuple[str, str]:
    """Name and unit of a header such as `ax [m/s^2]`."""
    match = _UNIT.match(cell.strip())
    return (match["name"].strip(), match["unit"].strip()) if match else (cell.strip(), "")


def _numbers(path: Path, number: int, cells: list[str], picks: list[int]) -> list[float]:
    """An empty cell is a value that is missing: NaN, which makes a gap."""
    try:
        return [float(cells[place]) if cells[place].strip() else float("nan") for place in picks]
    except (IndexError, ValueError) as error:
        raise SourceError(f"{path} line {number}: each channel must be a number: {error}") from error


def _source(address: str, label: Label, group: str) -> Recording:
    stamps: list[float] = []
    values: list[NDArray[Any]] = []
    labels: list[str] = []
    with open_source(address) as source:
        about = source.about
        if about.kind != "vector":
            raise SourceError(f"{address} holds frames; windows are cut from numbers")
        if about.live:
            raise SourceError(f"{address} is live; record it first: edgetl-runtime record")
        for sample in _trusted(source):
            stamps.append(sample.stamp_s)
            values.append(sample.data)
            labels.append(sample.label or "")
    table = np.array(values, np.float64).reshape(len(values), len(about.channels))
    own: Any = np.array(labels) if any(labels) else label
    return Recording(
        address, np.array(stamps), table, own, group, about.channels, about.units, rate_hz=about.rate_hz
    )


def _trusted(source: Any) -> Iterator[Any]:
    """Samples that nothing speaks against; the others make a gap."""
    return (sample for sample in source if not sample.doubt)
