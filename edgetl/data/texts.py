"""Labelled texts: a folder a class of .txt files, a CSV of texts, or texts in memory."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SampleError
from edgetl_runtime.sources.images import image_paths
from edgetl_runtime.text import MAX_TEXT_BYTES, checked_text
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset
from edgetl.data.readers import ArrayReader
from edgetl.errors import DatasetError

__all__ = ["TextReader", "array_reader", "holds_texts", "texts_at"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextReader:
    """Texts in memory; one is read as its UTF-8 (N,) uint8, as `edgetl_runtime` takes a text that is an array."""

    texts: Sequence[str]
    names: Sequence[str] = ()

    def name(self, index: int) -> str:
        """Its file or line."""
        return self.names[index] if self.names else str(index)

    def read(self, index: int) -> NDArray[Any]:
        """The text."""
        return np.frombuffer(self.content(index), np.uint8)

    def content(self, index: int) -> bytes:
        """The text in UTF-8."""
        return self.texts[index].encode("utf-8")


def array_reader(samples: Any) -> TextReader | ArrayReader:
    """The reader of samples in memory, of texts where they are str; raises DatasetError for a text that is none."""
    if not isinstance(samples, (list, tuple)) or not all(isinstance(sample, str) for sample in samples):
        return ArrayReader(samples)
    texts = []
    for place, sample in enumerate(samples):
        try:
            texts.append(checked_text(sample))
        except SampleError as error:
            raise DatasetError(f"sample {place}: {error}") from error
    return TextReader(texts)


def holds_texts(path: Path, labels: Any = None) -> bool:
    """Whether a folder holds .txt files and no image, or a CSV names a column `text` in its first line."""
    if path.is_dir():
        return labels is None and bool(_text_files(path)) and not image_paths(path)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return "text" in [cell.strip().lower() for cell in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def texts_at(path: Path, name: str, key: str = "") -> tuple[Dataset, list[str] | None]:
    """The texts of a folder with a folder a class of .txt files, or of a CSV with the columns text and label.

    And the values of its column `key`, where there is one. What cannot be read is logged and left out. Raises
    DatasetError.
    """
    texts, names, labels, keys, skipped = [], [], [], [], 0
    for where, data, label, group in _folder(path) if path.is_dir() else _table(path, key):
        try:
            texts.append(checked_text(data.decode("utf-8-sig") if isinstance(data, bytes) else data))
        except (UnicodeDecodeError, SampleError) as error:
            _log.warning("skipped: %s: %s", where, error)
            skipped += 1
            continue
        names.append(where)
        labels.append(label)
        keys += [] if group is None else [group]
    if not labels:
        raise DatasetError(f"no text in {path} can be used")
    gone = {-1 - place: "damaged" for place in range(skipped)}
    return Dataset(name, tuple(labels), TextReader(texts, names), unreadable=gone), keys or None


def _text_files(root: Path) -> list[Path]:
    return sorted(
        path for path in root.rglob("*.txt") if not any(part[0] == "." for part in path.relative_to(root).parts)
    )


def _folder(root: Path) -> Iterator[tuple[str, str | bytes, str, str | None]]:
    for path in _text_files(root):
        label = path.parent.relative_to(root).as_posix()
        if label == ".":
            _log.warning("left out: %s lies in no class folder", path)
            continue
        try:
            with path.open("rb") as file:
                yield path.relative_to(root).as_posix(), file.read(MAX_TEXT_BYTES + 1), label, None
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error


def _table(path: Path, key: str) -> Iterator[tuple[str, str | bytes, str, str | None]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [column.strip().lower() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            if not {"text", "label"} <= set(columns):
                raise DatasetError(f"{path} needs the columns text and label in its first line, not {columns}")
            grouped = key.lower() in columns
            for row in reader:
                label, where = (row["label"] or "").strip(), f"line {reader.line_num}"
                if not label:
                    raise DatasetError(f"{path} {where} has an empty label")
                yield where, row["text"] or "", label, (row[key.lower()] or "").strip() if grouped else None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
