"""From a CSV with a column for each number, or from arrays, to a TargetDataset."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.bundle.outputs import check_outputs
from edgetl_runtime.errors import BundleFormatError, SourceError
from edgetl_runtime.sources.images import image_size
from edgetl_runtime.types import Output
from numpy.typing import NDArray

from edgetl.data.dataset import SampleReader
from edgetl.data.readers import ArrayReader, ImageReader
from edgetl.data.targets import TargetDataset, named_outputs
from edgetl.errors import DatasetError

__all__ = ["targets_dataset"]

_log = logging.getLogger(__name__)


def targets_dataset(source: Any, targets: Any, holdout: float, name: str | None) -> TargetDataset:
    """See `edgetl.dataset`; raises DatasetError."""
    if isinstance(targets, str) or not isinstance(targets, (Sequence, Mapping)) or not targets:
        raise DatasetError("targets are the names of columns of a CSV, or a dict of name -> numbers (N,) for arrays")
    outputs = named_outputs(list(targets))
    try:
        check_outputs(outputs)
    except BundleFormatError as error:
        raise DatasetError(str(error).partition(": ")[2]) from error
    title = "arrays"
    unreadable: dict[int, str] = {}
    reader: SampleReader
    if isinstance(source, (str, os.PathLike)):
        if isinstance(targets, Mapping) or Path(source).suffix.lower() != ".csv":
            raise DatasetError(f"{source}: images with numbers come as a CSV: columns path and {_named(outputs)}")
        title, rows, reader, unreadable = _of_csv(Path(source), outputs)
    elif isinstance(targets, Mapping):
        rows, reader = _columns(targets, len(source)), ArrayReader(source)
    else:
        raise DatasetError("arrays need targets as a dict of name -> numbers (N,)")
    for output, column in zip(outputs, rows.T, strict=True):
        low = -np.inf if output.low is None else output.low
        high = np.inf if output.high is None else output.high
        outside = np.flatnonzero(~(np.isfinite(column) & (column >= low) & (column <= high)))
        if len(outside):
            raise DatasetError(
                f"{title}: {output.name} of sample {outside[0] + 1} is {column[outside[0]]:g}, not a number from"
                f" {low:g} to {high:g}"
            )
    return TargetDataset(name or title, outputs, rows, reader, holdout, unreadable=unreadable)


def _of_csv(
    path: Path, outputs: Sequence[Output]
) -> tuple[str, NDArray[np.float64], SampleReader, dict[int, str]]:
    names = [output.name for output in outputs]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
            if not {"path", *names} <= set(reader.fieldnames):
                raise DatasetError(f"{path} needs the columns path and {_named(outputs)}; it has {reader.fieldnames}")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    kept, values = [], []
    unreadable: dict[int, str] = {}
    for line, row in rows:
        picture = path.parent / (row["path"] or "").strip()
        try:
            numbers = [float(row[name]) for name in names]
        except (TypeError, ValueError):
            raise DatasetError(f"{path} line {line}: each of {_named(outputs)} must be a number") from None
        try:
            image_size(picture)
        except SourceError as error:
            # Negative numbers: files that never became samples.
            unreadable[-1 - len(unreadable)] = "damaged" if picture.is_file() else "missing"
            _log.warning("skipped: %s", error)
        else:
            kept.append(picture)
            values.append(numbers)
    if not kept:
        raise DatasetError(f"no images in {path}" + (f"; {len(unreadable)} files are unreadable" if unreadable else ""))
    return path.resolve().stem, np.array(values, dtype=np.float64), ImageReader(tuple(kept)), unreadable


def _columns(targets: Mapping[Any, Any], count: int) -> NDArray[np.float64]:
    try:
        columns = [np.asarray(values, dtype=np.float64) for values in targets.values()]
    except (TypeError, ValueError) as error:
        raise DatasetError(f"targets must be one number a sample: {error}") from error
    if count == 0 or any(column.shape != (count,) for column in columns):
        raise DatasetError(f"targets must be one number a sample, ({count},); got {[c.shape for c in columns]}")
    return np.stack(columns, axis=1)


def _named(outputs: Sequence[Output]) -> str:
    return ", ".join(output.name for output in outputs)
