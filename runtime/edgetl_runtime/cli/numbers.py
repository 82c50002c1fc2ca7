"""Images with the numbers that a head should say of them: a CSV, or NAME=VALUE on the command line."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from edgetl_runtime.errors import SourceError

__all__ = ["errors_told", "image_targets", "named_value"]

Numbers = Dict[str, float]


def named_value(text: str) -> Tuple[str, float]:
    """NAME=VALUE as an argument of a command."""
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, such as angle=0.25; got {text!r}")
    return name, number


def image_targets(
    arguments: Sequence[str], names: Sequence[str], given: Mapping[str, float]
) -> List[Tuple[Path, Numbers]]:
    """Images with the numbers of those names: the rows of CSV files, or image files that all have what is given."""
    rows: List[Tuple[Path, Numbers]] = []
    for argument in arguments:
        path = Path(argument)
        if given and path.is_file() and path.suffix.lower() != ".csv":
            rows.append((path, dict(given)))
        elif not given and path.is_file() and path.suffix.lower() == ".csv":
            rows += _csv_rows(path, names)
        else:
            raise SourceError(
                f"this bundle gives numbers: name CSV files with the columns path,{','.join(names)}, or image files and"
                f" a --target NAME=VALUE for each of {', '.join(names)}; {path} is not that"
            )
    return rows


def errors_told(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Dict[str, Dict[str, float]]:
    """By name: root mean square error, share of the variance explained, and the share within one deviation."""
    told = {}
    for name in names:
        said, truth = (np.array([row[key][name] for row in rows]) for key in ("values", "truth"))
        within = np.abs(said - truth) <= np.array([row["deviations"][name] for row in rows])
        spread = float(np.sum((truth - truth.mean()) ** 2))
        told[name] = {
            "rmse": float(np.sqrt(np.mean((said - truth) ** 2))),
            "r2": 1.0 - float(np.sum((said - truth) ** 2)) / spread if spread > 0 else math.nan,
            "within_one_deviation": float(within.mean()),
        }
    return told


def _csv_rows(path: Path, names: Sequence[str]) -> List[Tuple[Path, Numbers]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            if not {"path", *names} <= set(columns):
                raise SourceError(f"{path} needs the columns path,{','.join(names)} in its first line, not {columns}")
            return [(_image(row, path, reader.line_num), _numbers(row, names, path, reader.line_num)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error


def _image(row: Mapping[str, Any], path: Path, line: int) -> Path:
    name = (row["path"] or "").strip()
    if not name:
        raise SourceError(f"{path} line {line}: there is no path")
    return path.parent / name


def _numbers(row: Mapping[str, Any], names: Sequence[str], path: Path, line: int) -> Numbers:
    try:
        return {name: float(row[name]) for name in names}
    except (TypeError, ValueError):
        raise SourceError(f"{path} line {line}: each of {', '.join(names)} must be a number") from None
