"""From what a user has (a folder a class, a CSV, arrays) to a Dataset."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, overload

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.images import image_paths, image_size
from edgetl_runtime.types import Label
from edgetl_runtime.windows import WindowSpec

from edgetl.data.dataset import Dataset
from edgetl.data.readers import ArrayReader, ImageReader
from edgetl.data.targets import TargetDataset
from edgetl.data.targets_opening import targets_dataset
from edgetl.data.windows import windows_dataset
from edgetl.errors import DatasetError

__all__ = ["dataset"]

_log = logging.getLogger(__name__)


@overload
def dataset(
    source: Any,
    labels: Any = None,
    *,
    window: WindowSpec | None = None,
    groups: Any = None,
    holdout: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> Dataset: ...
@overload
def dataset(
    source: Any, *, targets: Any, holdout: float = 0.2, seed: int = 0, name: str | None = None
) -> TargetDataset: ...
def dataset(
    source: Any,
    labels: Any = None,
    *,
    targets: Any = None,
    window: WindowSpec | None = None,
    groups: Any = None,
    holdout: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> Dataset | TargetDataset:
    """Dataset of a folder of images, of a CSV of images, of arrays and labels (N,), or of windows of recordings.

    - A folder: every folder below it that holds images itself is a class, named by its path below the root
      with "/" (`Fruit/Apple/Granny-Smith`). `labels`, when given, names the classes that must be there;
      other folders are left out. Hidden files and folders are left out.
    - A CSV: columns `path` and `label` under a header, or exactly these two without one; relative paths
      start at the folder of the CSV. Labels are text.
    - With `targets`, numbers in place of labels, such as a steering angle: for a CSV the names of its columns
      beside `path`, for arrays a dict of name -> (N,). A name may be an `edgetl_runtime.types.Output`, which also
      has a unit and a range. Samples are in the order of time, and the last of them are held out.
    - Arrays: (N, H, W, 3) or (N, H, W) uint8 frames, or numbers (N, ...) such as windows of a time series,
      with `labels` (N,) of text or of integers. A list of samples of different sizes will do. `groups` (N,), such
      as the person of each, are held out whole.
    - With `window`, an `edgetl_runtime.windows.WindowSpec`, windows (T, C) of a time series, cut as a device cuts
      them: of a folder with a folder a class of recordings (WAV, CSV, MCAP, bags), where `groups` is a regular
      expression that finds in the path who or where it was; of a CSV of sensor values, with the columns `time`,
      `label`, maybe `group`, and the channels (`ax [m/s^2]`); of a CSV with the columns path, label, maybe group,
      start_s and end_s; of a list of `edgetl.data.Recording`; or of arrays (N, T, C) with their labels. Whole groups
      are held out, else whole recordings. Channels and units that the window does not name are the data's.

    `holdout` is the share of each class, at least 0 and below 1, that `Dataset.held_out` keeps from
    training; `seed` draws it. Images whose header cannot be read are left out here, logged and counted in
    `Dataset.skipped`; damage behind the header shows when they are read. Raises DatasetError: no such
    folder or file, a class without images, no samples, fewer than two classes, labels of another length.
    """
    if not 0.0 <= holdout < 1.0:
        raise DatasetError(f"holdout is the share kept from training, at least 0 and below 1; got {holdout}")
    if targets is not None:
        if labels is not None:
            raise DatasetError("give labels or targets, not both")
        if window is not None or groups is not None:
            raise DatasetError("numbers in place of labels are not for windows or groups yet; give labels")
        return targets_dataset(source, targets, holdout, name)
    if window is not None and labels is None:
        return windows_dataset(source, window, groups, holdout, seed, name)
    if isinstance(source, (str, os.PathLike)):
        if window is not None or groups is not None:
            raise DatasetError("groups are for arrays, and with window= for recordings, whose labels stand in the data")
        path = Path(source)
        if path.is_dir():
            rows, wanted = _folder_rows(path, labels)
        elif path.suffix.lower() == ".csv" and path.is_file():
            if labels is not None:
                raise DatasetError(f"the labels of {path} stand in the CSV itself; leave out labels=")
            rows, wanted = _csv_rows(path)
        elif path.exists():
            raise DatasetError(f"{path} is neither a folder nor a .csv file; give a folder with a folder a class")
        else:
            raise DatasetError(f"no such dataset: {path}; give a folder with a folder a class, or a CSV")
        return _of_images(name or path.resolve().name, rows, wanted, holdout, seed)
    samples, names = _checked_arrays(source, labels)
    _require_classes(set(names), "the labels")
    owners = () if groups is None else tuple(str(group) for group in groups)
    if owners and len(owners) != len(names):
        raise DatasetError(f"{len(names)} samples and {len(owners)} groups; give one group a sample")
    if window is not None:
        _check_windows(samples, window)
    return Dataset(
        name or "arrays", tuple(names), ArrayReader(samples), holdout, seed, groups=owners, window=window
    )


def _check_windows(samples: Any, window: WindowSpec) -> None:
    """Raises DatasetError for arrays that are no such windows."""
    columns = len(window.channels)
    for number, sample in enumerate(samples):
        shape = np.shape(sample)
        if len(shape) != 2 or shape[0] != window.length or (columns and shape[1] != columns):
            raise DatasetError(
                f"sample {number} has the shape {shape}; windows of {window.length} steps of {columns or 'C'} channels"
                f" are ({window.length}, {columns or 'C'})"
            )


def _folder_rows(root: Path, labels: Iterable[str] | None) -> tuple[list[tuple[Path, Label]], set[Label]]:
    rows: list[tuple[Path, Label]] = []
    for path in image_paths(root):
        if path.parent == root:
            _log.warning("left out: %s lies in no class folder", path)
        else:
            rows.append((path, path.parent.relative_to(root).as_posix()))
    found = {label for _, label in rows}
    if labels is None:
        return rows, found | _empty_folders(root)
    wanted: set[Label] = set(labels)
    if missing := wanted - found:
        raise DatasetError(f"{root} has no images for {_listed(missing)}; it has {_listed(found)}")
    return [row for row in rows if row[1] in wanted], wanted


def _empty_folders(root: Path) -> set[Label]:
    """Folders with neither an image nor a folder in them: meant as classes, and nothing there."""
    empty: set[Label] = set()
    for directory, folders, _ in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if not folders and Path(directory) != root and not image_paths(directory):
            empty.add(Path(directory).relative_to(root).as_posix())
    return empty


def _csv_rows(path: Path) -> tuple[list[tuple[Path, Label]], set[Label]]:
    rows: list[tuple[Path, Label]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    has_header = "path" in header and "label" in header
    columns = (header.index("path"), header.index("label")) if has_header else (0, 1)
    for number, cells in enumerate(lines, 1):
        if not any(cells) or (has_header and number == 1):
            continue
        if (not has_header and len(cells) != 2) or len(cells) <= max(columns):
            raise DatasetError(
                f"{path} line {number} has {len(cells)} columns; give path,label, or a first line that names"
                f" a `path` and a `label` column"
            )
        picture, label = cells[columns[0]].strip(), cells[columns[1]].strip()
        if not picture or not label:
            raise DatasetError(f"{path} line {number} has an empty {'label' if picture else 'path'}")
        rows.append((path.parent / picture, label))
    return rows, {label for _, label in rows}


def _of_images(
    name: str, rows: list[tuple[Path, Label]], wanted: set[Label], holdout: float, seed: int
) -> Dataset:
    kept: list[tuple[Path, Label]] = []
    skipped: list[str] = []
    for path, label in rows:
        try:
            image_size(path)
        except SourceError as error:
            skipped.append("damaged" if path.is_file() else "missing")
            _log.warning("skipped: %s", error)
        else:
            kept.append((path, label))
    if not kept:
        raise DatasetError(f"no images in {name}" + (f"; {len(skipped)} files are unreadable" if skipped else ""))
    if empty := wanted - {label for _, label in kept}:
        raise DatasetError(f"no readable image for {_listed(empty)} in {name}; add images or remove the class")
    _require_classes(wanted, name)
    # Negative numbers: files that never became samples.
    unreadable = {-1 - i: reason for i, reason in enumerate(skipped)}
    reader = ImageReader(tuple(path for path, _ in kept))
    return Dataset(name, tuple(label for _, label in kept), reader, holdout, seed, unreadable=unreadable)


def _checked_arrays(source: Any, labels: Any) -> tuple[Any, list[Label]]:
    if labels is None:
        raise DatasetError("arrays need labels: edgetl.dataset(arrays, labels), one label a sample")
    samples = source if isinstance(source, (list, tuple)) else np.asarray(source)
    if isinstance(samples, np.ndarray) and (samples.ndim < 2 or samples.dtype.kind not in "fiu"):
        raise DatasetError(f"samples must be numbers of shape (N, ...); got {samples.dtype} {samples.shape}")
    names = [_label(value, position) for position, value in enumerate(labels)]
    if len(names) != len(samples):
        raise DatasetError(f"{len(samples)} samples and {len(names)} labels; give one label a sample")
    if not names:
        raise DatasetError("no samples: the arrays are empty")
    if len({type(value) for value in names}) > 1:
        raise DatasetError("labels mix text and integers; use one of them")
    return samples, names


def _label(value: Any, position: int) -> Label:
    plain = value.item() if isinstance(value, np.generic) else value
    if type(plain) in (str, int) and plain != "":
        return plain  # type: ignore[no-any-return]
    raise DatasetError(f"label {position} is {value!r}; a label is text that is not empty, or an integer")


def _require_classes(classes: set[Label], where: str) -> None:
    if len(classes) < 2:
        raise DatasetError(f"{where} has one class only, {_listed(classes)}; a head needs at least two")


def _listed(labels: Iterable[Label]) -> str:
    names = sorted(map(str, labels))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
