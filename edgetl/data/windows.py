"""From recordings to a Dataset of windows (T, C), cut by the very code that cuts them on a device."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.types import Label
from edgetl_runtime.windows import WindowSpec, cut_windows
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset
from edgetl.data.readers import ArrayReader
from edgetl.data.recordings import RECORDING_SUFFIXES, Recording, read_recordings
from edgetl.errors import DatasetError

__all__ = ["windows_dataset"]

_log = logging.getLogger(__name__)

PUREST = 0.7  # of a window's samples that have its label
_LISTED = ("path", "label")
_GAPS = "cut by gaps"


def windows_dataset(
    source: Any, window: WindowSpec, groups: str | None, holdout: float, seed: int, name: str | None
) -> Dataset:
    """Windows of a folder a class of recordings, of a CSV, or of `Recording`s; see `edgetl.dataset`.

    Where every recording is a group of its own and some class has one only, each stretch of one label is cut into
    parts, and no window reaches over a cut. Raises DatasetError.
    """
    unreadable: list[str] = []
    if isinstance(source, Sequence) and not isinstance(source, str):
        recordings, title = list(source), "recordings"
    else:
        recordings, title = _read(Path(source), groups, unreadable), Path(source).resolve().name
    if not recordings:
        raise DatasetError(f"no recordings in {title}" + (f"; {len(unreadable)} are unreadable" if unreadable else ""))
    window = _named(window, recordings[0])
    alone = _alone(recordings) and not any(recording.group for recording in recordings)
    data: list[NDArray[np.float32]] = []
    labels: list[Label] = []
    owners: list[str] = []
    for number, recording in enumerate(recordings):
        found = 0
        for part, piece in _pieces(recording, window, max(2, round(1 / holdout)) if alone and holdout else 1):
            for sample, label in _labelled(part, window, recording.name):
                found += 1
                if label is None:
                    unreadable.append("of several labels")
                    continue
                data.append(sample)
                labels.append(label)
                owners.append(recording.group or f"{number}: {recording.name} {piece}")
        if not found:
            lasts = float(np.ptp(recording.stamps_s)) if len(recording.stamps_s) else 0.0
            unreadable.append("too short" if lasts < window.duration_s else _GAPS)
            _log.warning("skipped: %s has no %.3g s without a gap, in %.3g s", recording.name, window.duration_s, lasts)
    if not data:
        raise DatasetError(
            f"{title} gives no window of {window.length} steps at {window.rate_hz:g} Hz ({window.duration_s:g} s) with"
            f" one label; left out: {', '.join(sorted(set(unreadable)))}"
            + ("; at a lower rate_hz longer pauses are no gaps" if _GAPS in unreadable else "")
        )
    if len(set(labels)) < 2:
        raise DatasetError(f"{title} has windows of one class only, {labels[0]!r}; a head needs at least two")
    return Dataset(
        name or title, tuple(labels), ArrayReader(np.stack(data)), holdout, seed,
        # Negative numbers: what never became a sample.
        unreadable={-1 - row: reason for row, reason in enumerate(unreadable)}, groups=tuple(owners), window=window,
    )  # fmt: skip


def _read(path: Path, groups: str | None, unreadable: list[str]) -> list[Recording]:
    if path.is_dir():
        rows = _folder(path, groups)
    elif path.suffix.lower() == ".csv" and path.is_file():
        if groups is not None:
            raise DatasetError(f"the groups of {path} stand in its column `group`; leave out groups=")
        if not _is_list(path):
            return _checked(path, "", "")
        rows = list(_list(path))
    else:
        raise DatasetError(
            f"{path} is neither a folder of recordings, with a folder a class, nor a .csv: of sensor values, or with"
            " the columns path and label"
        )
    found: list[Recording] = []
    reading = lru_cache(maxsize=1)(read_recordings)  # one after the other may be intervals of one file
    for file, label, group, start, end in rows:
        try:
            parts = reading(file)
        except SourceError as error:
            unreadable.append("damaged")
            _log.warning("skipped: %s", error)
            continue
        for part in parts:
            since = part.stamps_s - (part.stamps_s[0] if len(part.stamps_s) else 0.0)
            inside = part.rows((since >= start) & (since <= end))
            found.append(replace(inside, labels=label, group=group or inside.group))
    return found


_Row = tuple[str, str, str, float, float]


def _folder(root: Path, groups: str | None) -> list[_Row]:
    """Files, their class (the folders from `root` on), and the group that a pattern finds in the path."""
    try:
        pattern = re.compile(groups) if groups is not None else None
    except re.error as error:
        raise DatasetError(f"groups={groups!r} is no regular expression: {error}") from error
    rows: list[_Row] = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.suffix.lower() not in RECORDING_SUFFIXES or any(part.startswith(".") for part in inside.parts):
            continue
        if path.parent == root:
            _log.warning("left out: %s lies in no class folder", path)
            continue
        match = pattern.search(inside.as_posix()) if pattern else None
        if pattern and not match:
            raise DatasetError(f"the pattern {groups!r} finds no group in {inside.as_posix()!r}")
        group = match.group(1 if match.re.groups else 0) if match else ""
        rows.append((str(path), inside.parent.as_posix(), group, -np.inf, np.inf))
    return rows


def _is_list(path: Path) -> bool:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    return set(_LISTED) <= {cell.strip().lower() for cell in header}


def _list(path: Path) -> Iterator[_Row]:
    """Rows of a CSV with path and label, maybe group, and start_s and end_s after the recording's first sample."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or []]
            for row in reader:
                where = f"{path} line {reader.line_num}"
                cells = {key: (value or "").strip() for key, value in row.items() if key}
                if not cells["path"] or not cells["label"]:
                    raise DatasetError(f"{where} has an empty {'label' if cells['path'] else 'path'}")
                try:
                    start, end = float(cells.get("start_s") or "-inf"), float(cells.get("end_s") or "inf")
                except ValueError as error:
                    raise DatasetError(f"{where}: start_s and end_s are seconds: {error}") from error
                file_path = cells["path"] if "://" in cells["path"] else str(path.parent / cells["path"])
                yield file_path, cells["label"], cells.get("group", ""), start, end
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error


def _checked(path: Path, label: str, group: str) -> list[Recording]:
    try:
        return read_recordings(path, label, group)
    except SourceError as error:
        raise DatasetError(str(error)) from error


def _named(window: WindowSpec, first: Recording) -> WindowSpec:
    """The window with the channels and units that the recordings have, where it does not say its own."""
    channels = window.channels or first.channels
    if not channels or window.units:
        return window
    known = dict(zip(first.channels, first.units, strict=False))
    units = tuple(known.get(channel, "") for channel in channels)
    return replace(window, channels=channels, units=units if any(units) else ())


def _alone(recordings: Sequence[Recording]) -> bool:
    """Whether some class stands in one recording only, so that none of it could be held out."""
    counts: dict[Any, int] = {}
    for recording in recordings:
        for label in set(np.atleast_1d(recording.labels).tolist()) - {""}:
            counts[label] = counts.get(label, 0) + 1
    return any(count < 2 for count in counts.values())


def _pieces(recording: Recording, window: WindowSpec, parts: int) -> Iterator[tuple[Recording, int]]:
    """The recording whole; or each stretch of one label in `parts`, with the number of each."""
    if parts == 1 or not len(recording.stamps_s):
        yield recording, 0
        return
    count = len(recording.stamps_s)
    labels = np.broadcast_to(recording.labels, count)
    edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), count]
    for number, (start, stop) in enumerate(pairwise(edges)):
        if (stop - start) < parts or recording.stamps_s[stop - 1] - recording.stamps_s[start] < parts * (
            window.length / window.rate_hz
        ):
            yield recording.rows(slice(start, stop)), number % parts
            continue
        cuts = np.linspace(start, stop, parts + 1).astype(int).tolist()
        for piece, (a, b) in enumerate(pairwise(cuts)):
            yield recording.rows(slice(a, b)), piece


def _labelled(part: Recording, window: WindowSpec, name: str) -> Iterator[tuple[NDArray[np.float32], Label | None]]:
    """Each window with its label, or None where no label covers most of it."""
    part = _filled(part, window)
    stamps = part.stamps_s
    forward = np.diff(stamps) > 0
    rate_hz = part.rate_hz or (1.0 / float(np.median(np.diff(stamps)[forward])) if forward.any() else None)
    # A clock that jumps back cuts a window; cut here, stamps rise, and the samples of a window are found by them.
    edges = [0, *(np.flatnonzero(np.diff(stamps) < 0) + 1).tolist(), len(stamps)]
    for start, stop in pairwise(edges):
        stretch = part.rows(slice(start, stop))
        try:
            table = cut_windows(window, stretch.stamps_s, stretch.values, part.channels, part.units, rate_hz)
        except SourceError as error:
            raise DatasetError(f"{name}: {error}") from error
        for data, first, last in zip(table.data, table.start_s, table.end_s, strict=True):
            if not isinstance(stretch.labels, np.ndarray):
                yield data, None if stretch.labels == "" else stretch.labels
                continue
            low, high = np.searchsorted(stretch.stamps_s, first), np.searchsorted(stretch.stamps_s, last, "right")
            if low == high:  # a window of one step, between two samples
                low, high = max(low - 1, 0), high + 1
            values, counts = np.unique(stretch.labels[low:high], return_counts=True)
            most = int(counts.argmax())
            label = values[most].item()
            yield data, label if label != "" and counts[most] >= PUREST * counts.sum() else None


def _filled(part: Recording, window: WindowSpec) -> Recording:
    """A short recording with so much of `fill` at its ends that every window that holds all of it is cut.

    A device cuts windows at every stride, and what is heard lies anywhere in them. Where the stride allows one window
    only, the recording lies in its middle.
    """
    if part.fill is None or part.rate_hz is None or isinstance(part.labels, np.ndarray):
        return part
    slack = int(np.ceil(window.duration_s * part.rate_hz)) + 1 - len(part.values)
    if slack <= 0:
        return part
    stride = max(1, round(window.stride * part.rate_hz / window.rate_hz))
    first = slack % stride // 2  # where the recording begins in the last of these windows
    before = first + slack // stride * stride
    values = np.pad(part.values, ((before, slack - first), (0, 0)), constant_values=part.fill)
    return replace(part, stamps_s=np.arange(len(values)) / part.rate_hz, values=values)
