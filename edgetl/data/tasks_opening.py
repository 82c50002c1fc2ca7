"""From a CSV with a column a task, or from arrays, to a TaskDataset."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.labels import checked_label
from edgetl_runtime.sources.images import image_size
from numpy.typing import NDArray

from edgetl.data.dataset import SampleReader
from edgetl.data.readers import ArrayReader, ImageReader
from edgetl.data.splits import parse_split
from edgetl.data.tasks import Task, TaskDataset
from edgetl.errors import DatasetError

__all__ = ["tasks_dataset"]

_log = logging.getLogger(__name__)


def tasks_dataset(source: Any, tasks: Any, holdout: float, seed: int, name: str | None, split: str) -> TaskDataset:
    """See `edgetl.dataset`; raises DatasetError."""
    if not isinstance(tasks, Mapping) or not tasks or not all(isinstance(key, str) and key for key in tasks):
        raise DatasetError(
            'tasks are a dict: of a CSV its columns, {"kind": "class", "angle": "number"}; of arrays name -> values'
        )
    rule = parse_split(split)
    if rule.kind == "domain" or (rule.kind == "time" and rule.by):
        raise DatasetError(f"samples of several tasks are held out by random, group:COLUMN or time; got {split!r}")
    unreadable: dict[int, str] = {}
    groups: list[str] = []
    reader: SampleReader
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix.lower() != ".csv" or not all(kind in ("class", "number") for kind in tasks.values()):
            raise DatasetError(f"{path}: several tasks come as a CSV with a column each, and a task is class or number")
        title, kinds = path.resolve().stem, dict(tasks)
        by = (rule.by or "group") if rule.kind == "group" else ""
        files, columns, groups = _of_csv(path, kinds, by, unreadable)
        reader = ImageReader(tuple(files))
    else:
        if rule.kind == "group":
            raise DatasetError("arrays of several tasks are held out by random or time; groups stand in a CSV")
        title, reader = "arrays", ArrayReader(source)
        kinds = {key: _kind(values) for key, values in tasks.items()}
        columns = {key: _checked(key, values, kinds[key], len(source)) for key, values in tasks.items()}
    found = [_encoded(title, key, kinds[key], columns[key]) for key in tasks]
    by_time = rule.kind == "time" or (split == "random" and "number" in kinds.values())
    truth = np.stack([column for _, column in found], axis=1)
    return TaskDataset(
        name or title, tuple(task for task, _ in found), truth, reader, holdout, seed, by_time,
        groups=tuple(groups), unreadable=unreadable,
    )  # fmt: skip


def _of_csv(
    path: Path, kinds: Mapping[str, str], by: str, unreadable: dict[int, str]
) -> tuple[list[Path], dict[str, list[Any]], list[str]]:
    """(files, values by task with None where a cell is empty, groups)."""
    files: list[Path] = []
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    groups: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            rows.fieldnames = [column.strip() for column in rows.fieldnames or []]
            wanted = ["path", *kinds, *([by] if by else [])]
            if missing := [name for name in wanted if name not in rows.fieldnames]:
                raise DatasetError(f"{path} has no column {', '.join(missing)}; it has {', '.join(rows.fieldnames)}")
            for row in rows:
                cells = {name: (row[name] or "").strip() for name in wanted}
                values: dict[str, Any] = {name: cells[name] or None for name in kinds}
                for name, kind in kinds.items():
                    if kind == "number" and values[name] is not None:
                        values[name] = _number(path, rows.line_num, name, cells[name])
                picture = path.parent / cells["path"]
                try:
                    image_size(picture)
                except SourceError as error:
                    unreadable[-1 - len(unreadable)] = "damaged" if picture.is_file() else "missing"
                    _log.warning("skipped: %s", error)
                    continue
                files.append(picture)
                for name, value in values.items():
                    columns[name].append(value)
                if by:
                    groups.append(cells[by])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    if not files:
        raise DatasetError(f"no images in {path}" + (f"; {len(unreadable)} files are unreadable" if unreadable else ""))
    return files, columns, groups


def _number(path: Path, line: int, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DatasetError(f"{path} line {line}: {name} is {cell!r}; give a number, or nothing where it is missing")
    return value


def _kind(values: Any) -> str:
    """Numbers are arrays (N,) of floats with NaN where they are missing; all else are labels, with None."""
    return "number" if np.asarray(values).dtype.kind == "f" else "class"


def _checked(name: str, values: Any, kind: str, count: int) -> list[Any]:
    if np.ndim(values) != 1 or len(values) != count or count == 0:
        raise DatasetError(f"the task {name!r} needs one value for each of {count} samples; got {np.shape(values)}")
    if kind == "number":
        return [None if np.isnan(value) else float(value) for value in values]
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return [None if value is None else checked_label(value) for value in plain]


def _encoded(title: str, name: str, kind: str, values: Sequence[Any]) -> tuple[Task, NDArray[np.float64]]:
    said = [value for value in values if value is not None]
    if kind == "number":
        if not said or not np.isfinite(said).all():
            raise DatasetError(f"{title}: the task {name!r} has {'an infinite' if said else 'no'} number")
        return Task(name), np.array([np.nan if value is None else value for value in values])
    try:
        classes = tuple(sorted(set(said)))
    except TypeError as error:
        raise DatasetError(f"{title}: labels of {name!r} mix text and integers; use one of them") from error
    if len(classes) < 2:
        raise DatasetError(f"{title}: the task {name!r} has {len(classes)} classes; a head needs at least two")
    place = {label: float(code) for code, label in enumerate(classes)}
    return Task(name, classes), np.array([np.nan if value is None else place[value] for value in values])
