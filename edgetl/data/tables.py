"""Labelled samples listed in a file: a CSV row by row, and arrays in an .npz."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.errors import DatasetError

__all__ = ["csv_rows", "npz_arrays"]


def csv_rows(path: Path, key: str = "") -> Iterator[tuple[str, str, str | None]]:
    """(path, label, key) of each row, read one at a time; the key is that of column `key`, None where there is none.

    Columns `path` and `label` under a header, or exactly these two without one. Raises DatasetError with the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns, wanted, has_header, first = (0, 1), -1, False, True
            for cells in reader:
                number = reader.line_num
                if first and cells:
                    first = False
                    header = [cell.strip().lower() for cell in cells]
                    has_header = "path" in header and "label" in header
                    if has_header:
                        columns = (header.index("path"), header.index("label"))
                        wanted = header.index(key.lower()) if key.lower() in header else -1
                        continue
                if not any(cells):
                    continue
                if (not has_header and len(cells) != 2) or len(cells) <= max(*columns, wanted):
                    raise DatasetError(
                        f"{path} line {number} has {len(cells)} columns; give path,label, or a first line that names"
                        f" a `path` and a `label` column"
                    )
                picture, label = cells[columns[0]].strip(), cells[columns[1]].strip()
                if not picture or not label:
                    raise DatasetError(f"{path} line {number} has an empty {'label' if picture else 'path'}")
                yield picture, label, cells[wanted].strip() if wanted >= 0 else None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error


def npz_arrays(path: Path) -> tuple[Any, Any, Mapping[str, Any]]:
    """`samples` (N, ...), `labels` (N,) and every array by name of an .npz (or `x` and `y`); never a pickle."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    # NumPy, zipfile and zlib each have errors of their own, and a shape that lies asks for all the memory there is.
    except Exception as error:
        raise DatasetError(f"{path} cannot be read as arrays: {error or type(error).__name__}") from error
    for samples, labels in (("samples", "labels"), ("x", "y")):
        if samples in arrays and labels in arrays:
            return arrays[samples], arrays[labels], arrays
    raise DatasetError(f"{path} needs the arrays samples and labels; it has {', '.join(arrays) or 'none'}")
