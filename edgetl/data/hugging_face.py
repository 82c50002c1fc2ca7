"""Datasets of the package `datasets` (Hugging Face), where it is installed: by name, by folder, or as an object."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.images import decode_image
from numpy.typing import NDArray

from edgetl.errors import DatasetError, MissingPackageError

__all__ = ["RowReader", "is_table", "open_table", "table_rows"]

_SAMPLE_COLUMNS = ("image", "img", "sample", "x")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "y")


@dataclass(frozen=True)
class RowReader:
    """One column of a table that stays where it lies (memory-mapped Arrow)."""

    table: Any
    column: str

    def read(self, index: int) -> NDArray[Any]:
        """The frame (H, W, 3) of a picture, or the numbers; raises SourceError."""
        try:
            value = self.table[index][self.column]
            if isinstance(value, dict) and value.get("bytes"):
                return decode_image(value["bytes"], self.name(index))
            if hasattr(value, "convert"):
                return np.asarray(value.convert("RGB"))
            return np.asarray(value)
        except SourceError:
            raise
        # Whatever decoder the column has may raise what it likes.
        except Exception as error:
            raise SourceError(f"{self.name(index)} cannot be read: {error}") from error

    def content(self, index: int) -> bytes:
        """Type, shape and numbers of the sample; raises SourceError."""
        sample = self.read(index)
        return f"{sample.dtype.str}{sample.shape}".encode() + sample.tobytes()

    def name(self, index: int) -> str:
        """Its row."""
        return f"row {index}"


def is_table(source: Any) -> bool:
    """Whether this is a `datasets.Dataset`, told without importing the package."""
    return any(f"{base.__module__}.{base.__name__}" == "datasets.arrow_dataset.Dataset" for base in type(source).mro())


def open_table(address: str) -> Any:
    """The table of `hf:NAME[:SPLIT]`, or of a folder that `save_to_disk` wrote; the split is "train" by default.

    Raises MissingPackageError, DatasetError.
    """
    name, _, split = address.removeprefix("hf:").partition(":")
    try:
        package = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingPackageError(f"{address} needs the package datasets: pip install datasets ({error})") from error
    try:
        found = package.load_from_disk(name) if Path(name).is_dir() else package.load_dataset(name)
        return found if is_table(found) else found[split or "train"]
    # Network, cache, formats: the package raises errors of its own and of its dependencies.
    except Exception as error:
        raise DatasetError(f"{address} cannot be opened: {type(error).__name__}: {error}") from error


def table_rows(table: Any) -> tuple[RowReader, list[Any]]:
    """Reader and labels (N): the column of kind Image, else image, img, sample or x; that of kind ClassLabel, else
    label, labels, fine_label or y. Codes of a ClassLabel become its names. Raises DatasetError."""
    sample = _column(table, "Image", _SAMPLE_COLUMNS)
    label = _column(table, "ClassLabel", _LABEL_COLUMNS)
    names = getattr(table.features[label], "names", None)
    values = list(table[label])
    if names is not None and any(not 0 <= value < len(names) for value in values):
        raise DatasetError(f"the column {label} has rows without a label (-1): this is a split that hides them")
    return RowReader(table, sample), [names[value] if names is not None else value for value in values]


def _column(table: Any, kind: str, usual: tuple[str, ...]) -> str:
    typed = [name for name, feature in table.features.items() if type(feature).__name__ == kind]
    named = [name for name in usual if name in table.column_names]
    if len(typed) == 1:
        return str(typed[0])
    if named:
        return named[0]
    raise DatasetError(f"the table has no column {' or '.join(usual)}; it has {', '.join(table.column_names)}")
