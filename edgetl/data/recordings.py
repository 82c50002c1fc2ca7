"""Recordings of sensors with their labels: from WAV, from a CSV of sensor values, and from what a device records."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import open_source
from edgetl_runtime.sources.csv_feed import read_table
from edgetl_runtime.types import Label
from numpy.typing import NDArray

__all__ = ["RECORDING_SUFFIXES", "Recording", "read_recordings"]

RECORDING_SUFFIXES = (".wav", ".csv", ".mcap", ".bag", ".db3")
AUDIO_CHANNEL, AUDIO_UNIT = "audio", "FS"


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
    # The module says of a chunk that is longer than the file RuntimeError, and of a name with a NUL ValueError.
    except (OSError, EOFError, RuntimeError, ValueError, wave.Error) as error:
        raise SourceError(f"{path} cannot be read as WAV: {str(error) or 'it ends too early'}; PCM is read") from error
    if not 1 <= width <= 4 or rate < 1:
        raise SourceError(f"{path} cannot be read as WAV: {8 * width} bits at {rate} Hz; PCM of 8 to 32 bits is read")
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
    table = read_table(path)
    labels: Any = np.array(table.labels) if any(table.labels) else label
    groups = [of or group for of in table.groups]
    whole = Recording(str(path), table.stamps_s, table.values, labels, group, table.channels, table.units)
    edges = [0, *(place for place in range(1, len(groups)) if groups[place] != groups[place - 1]), len(groups)]
    return [replace(whole.rows(slice(a, b)), group=groups[a]) for a, b in pairwise(edges) if b > a]


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
