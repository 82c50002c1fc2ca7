"""From what a user has (a folder a class, a table, boxes, arrays) to a Dataset."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.images import image_paths, image_size
from edgetl_runtime.types import Label
from edgetl_runtime.windows import WindowSpec

from edgetl.data.coco import coco_crops
from edgetl.data.dataset import Dataset
from edgetl.data.hugging_face import is_table, open_table, table_rows
from edgetl.data.paths import PathTable
from edgetl.data.readers import ArrayReader, ImageReader
from edgetl.data.splits import SplitRule, domain_held_out, keys_of_names, parse_split, time_held_out
from edgetl.data.tables import csv_rows, npz_arrays
from edgetl.data.targets import TargetDataset
from edgetl.data.targets_opening import targets_dataset
from edgetl.data.tasks import TaskDataset
from edgetl.data.tasks_opening import tasks_dataset
from edgetl.data.texts import array_reader, holds_texts, texts_at
from edgetl.data.windows import windows_dataset
from edgetl.errors import DatasetError

__all__ = ["dataset"]

_log = logging.getLogger(__name__)

_WARNINGS = 10


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
    split: str = "random",
    by: Any = None,
    images: str | Path | None = None,
    verify: bool = True,
) -> Dataset: ...
@overload
def dataset(
    source: Any, *, targets: Any, holdout: float = 0.2, seed: int = 0, name: str | None = None
) -> TargetDataset: ...
@overload
def dataset(
    source: Any, *, tasks: Any, holdout: float = 0.2, seed: int = 0, name: str | None = None, split: str = "random"
) -> TaskDataset: ...
def dataset(
    source: Any,
    labels: Any = None,
    *,
    targets: Any = None,
    tasks: Any = None,
    window: WindowSpec | None = None,
    groups: Any = None,
    holdout: float = 0.2,
    seed: int = 0,
    name: str | None = None,
    split: str = "random",
    by: Any = None,
    images: str | Path | None = None,
    verify: bool = True,
) -> Dataset | TargetDataset | TaskDataset:
    """Dataset of a folder of images, of a CSV of images, of arrays and labels (N,), or of windows of recordings.

    - A folder: every folder below it that holds images itself is a class, named by its path below the root
      with "/" (`Fruit/Apple/Granny-Smith`). `labels`, when given, names the classes that must be there;
      other folders are left out. Hidden files and folders are left out.
    - A CSV: columns `path` and `label` under a header, or exactly these two without one; relative paths
      start at the folder of the CSV. Labels are text. It is read row by row; a row takes some 20 bytes more than
      its path has letters.
    - A COCO annotation file (.json): one crop a box, whose class is its category; `images` is the folder of its
      images. Boxes of one image are never on both sides of a split.
    - With `targets`, numbers in place of labels, such as a steering angle: for a CSV the names of its columns
      beside `path`, for arrays a dict of name -> (N,). A name may be an `edgetl_runtime.types.Output`, which also
      has a unit and a range. Samples are in the order of time, and the last of them are held out.
    - With `tasks`, several labels a sample: for a CSV a dict of columns beside `path`, {"kind": "class", "angle":
      "number"}, where an empty cell is a label that is missing; for arrays name -> values (N,), floats with NaN or
      labels with None. Split at random (by time where there are numbers), by `group:COLUMN`, or by time.
    - Arrays: (N, H, W, 3) or (N, H, W) uint8 frames, or numbers (N, ...) such as windows of a time series,
      with `labels` (N,) of text or of integers. A list of samples of different sizes will do. `groups` (N,), such
      as the person of each, are held out whole. An .npz with `samples` and `labels` is the same.
    - Texts: a folder with a folder a class of .txt files, a CSV with the columns `text` and `label`, or a list of str
      with its labels.
    - With `window`, an `edgetl_runtime.windows.WindowSpec`, windows (T, C) of a time series, cut as a device cuts
      them: of a folder with a folder a class of recordings (WAV, CSV, MCAP, bags), where `groups` is a regular
      expression that finds in the path who or where it was; of a CSV of sensor values, with the columns `time`,
      `label`, maybe `group`, and the channels (`ax [m/s^2]`); of a CSV with the columns path, label, maybe group,
      start_s and end_s; of a list of `edgetl.data.Recording`; or of arrays (N, T, C) with their labels. Whole groups
      are held out, else whole recordings. Channels and units that the window does not name are the data's.
    - `hf:NAME[:SPLIT]`, or a `datasets.Dataset`, where the package `datasets` is installed.

    `holdout` is the share of each class, at least 0 and below 1, that `Dataset.held_out` keeps from
    training; `seed` draws it. `split` says what is held out together: "random" samples; "group:BY", whole groups
    such as drives, shops or persons; "time:BY", the last share in time; "domain:BY=NAME,NAME", those domains
    alone. BY is a column of the CSV or .npz, or a regular expression searched in the names of files (left out, the name
    up to its last number is a group, that number the time); `by` gives the keys (N,) themselves.

    Images whose header cannot be read are left out here, logged and counted in `Dataset.skipped`; damage behind the
    header shows when they are read. With `verify=False` no image is opened here. Raises DatasetError: no such folder
    or file, a class without images, no samples, fewer than two classes, labels of another length, a split that cannot
    be; MissingPackageError.
    """
    if not 0.0 <= holdout < 1.0:
        raise DatasetError(f"holdout is the share kept from training, at least 0 and below 1; got {holdout}")
    rule = parse_split(split)
    if tasks is not None:
        if any(given is not None for given in (labels, targets, window, groups, by)):
            raise DatasetError("give tasks alone, without labels, targets, window, groups or by")
        return tasks_dataset(source, tasks, holdout, seed, name, split)
    if targets is not None:
        if labels is not None:
            raise DatasetError("give labels or targets, not both")
        if rule.kind not in ("random", "time") or rule.by or by is not None:
            raise DatasetError("samples with numbers are held out by time, in the order in which they are given")
        if window is not None or groups is not None:
            raise DatasetError("numbers in place of labels are not for windows or groups yet; give labels")
        return targets_dataset(source, targets, holdout, name)
    if window is not None and labels is None:
        if rule.kind != "random":
            raise DatasetError("windows are held out by group: leave out split=, and say groups=")
        return windows_dataset(source, window, groups, holdout, seed, name)
    if isinstance(source, (str, os.PathLike)):
        if window is not None or groups is not None:
            raise DatasetError(
                "groups are for arrays, and with window= for recordings, whose labels stand in the data;"
                " for files say split='group:...'"
            )
        data, keys = _of_file(source, labels, rule, name, images, verify, by)
    else:
        if is_table(source):
            reader, labels = table_rows(source)
            names, title, keys = _checked_labels(labels, len(source)), "table", None
            data = Dataset(name or title, tuple(names), reader)
        else:
            samples, names = _checked_arrays(source, labels)
            if window is not None:
                _check_windows(samples, window)
            data, keys = Dataset(name or "arrays", tuple(names), array_reader(samples), window=window), None
        _require_classes(set(names), "the labels")
    data = replace(data, holdout=holdout, seed=seed, reader=data.reader)
    if groups is not None:
        rule, by = SplitRule("group"), groups
    return _split(data, rule, by if by is not None else keys)


def _of_file(
    source: Any, labels: Any, rule: SplitRule, name: str | None, images: str | Path | None, verify: bool, by: Any
) -> tuple[Dataset, Sequence[Any] | None]:
    """The dataset of what lies at a path, and the keys to split it by where what lies there has them."""
    path, suffix = Path(source), Path(source).suffix.lower()
    if labels is not None and not path.is_dir():
        kind = suffix[1:].upper() or "file"
        raise DatasetError(f"the labels of {path} stand in the {kind} itself; leave out labels=")
    title = name or path.resolve().name
    if holds_texts(path, labels):
        texts, keys = texts_at(path, title, rule.by or rule.kind)
        _require_classes(set(texts.labels), title)
        return texts, keys
    if path.is_dir():
        root, rows, wanted = path, *_folder_rows(path, labels)
        data, keys = _of_images(title, root, rows, wanted, verify)
        return data, keys
    if str(source).startswith("hf:"):
        reader, values = table_rows(open_table(str(source)))
        names = _checked_labels(values, len(values))
        _require_classes(set(names), str(source))
        return Dataset(name or str(source), tuple(names), reader), None
    if suffix == ".csv" and path.is_file():
        return _of_images(title, path.parent, csv_rows(path, rule.by or rule.kind), set(), verify)
    if suffix == ".json" and path.is_file():
        crops, categories, files, left_out = coco_crops(path, None if images is None else Path(images))
        _require_classes(set(categories), str(path))
        gone = {-1 - i: why for i, why in enumerate(left_out.elements())}
        boxes = Dataset(title, tuple(categories), crops, unreadable=gone)
        if rule.kind == "random" or (rule.kind == "group" and not rule.by):
            return replace(boxes, groups=tuple(files)), files
        return boxes, keys_of_names(rule, files) if by is None else None
    if suffix == ".npz" and path.is_file():
        array, values, arrays = npz_arrays(path)
        samples, names = _checked_arrays(array, values)
        _require_classes(set(names), str(path))
        return Dataset(title, tuple(names), ArrayReader(samples)), arrays.get(rule.by or rule.kind)
    if path.exists():
        raise DatasetError(
            f"{path} is neither a folder nor a .csv file, COCO .json or .npz; give a folder with a folder a class"
        )
    raise DatasetError(f"no such dataset: {path}; give a folder with a folder a class, or a CSV")


def _split(data: Dataset, rule: SplitRule, keys: Sequence[Any] | None) -> Dataset:
    """The dataset with what the rule holds out."""
    if rule.kind == "random":
        return data
    if keys is None:
        names = getattr(data.reader, "name", None)
        if names is None:
            raise DatasetError(f"split {rule.kind}: give by=, one key for each of the {len(data)} samples")
        keys = keys_of_names(rule, [names(index) for index in data.indices])
    texts = [str(key) for key in keys]
    if len(texts) != len(data):
        raise DatasetError(f"{len(data)} samples and {len(texts)} groups or keys; give one group a sample")
    if rule.kind == "group":
        if len(set(texts)) < 2:
            raise DatasetError(f"split group: all samples are of one group, {texts[0]!r}; none can be held out")
        return replace(data, groups=tuple(texts), reader=data.reader)
    held = (
        domain_held_out(texts, data.labels, rule.domains)
        if rule.kind == "domain"
        else time_held_out(texts, data.labels, data.holdout)
    )
    return replace(data, held=held, reader=data.reader)


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


def _folder_rows(
    root: Path, labels: Iterable[str] | None
) -> tuple[list[tuple[str, str, str | None]], set[Label]]:
    rows: list[tuple[str, str, str | None]] = []
    for path in image_paths(root):
        if path.parent == root:
            _log.warning("left out: %s lies in no class folder", path)
        else:
            rows.append((str(path.relative_to(root)), path.parent.relative_to(root).as_posix(), None))
    found: set[Label] = {label for _, label, _ in rows}
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


def _of_images(
    name: str, root: Path, rows: Iterable[tuple[str, str, str | None]], wanted: set[Label], verify: bool
) -> tuple[Dataset, list[str] | None]:
    """Each row is a file below `root`, its label, and its key to split by, or None."""
    files, labels, keys = PathTable(root), [], []
    spelled: dict[str, str] = {}  # one object for all that are equal: a million rows repeat a few names
    skipped: list[str] = []
    for picture, label, key in rows:
        label = spelled.setdefault(label, label)
        wanted.add(label)
        if verify:
            try:
                image_size(root / picture)
            except SourceError as error:
                skipped.append("damaged" if (root / picture).is_file() else "missing")
                if len(skipped) <= _WARNINGS:
                    _log.warning("skipped: %s", error)
                continue
        files.append(picture)
        labels.append(label)
        if key is not None:
            keys.append(spelled.setdefault(key, key))
    if len(skipped) > _WARNINGS:
        _log.warning("skipped %d more files of %s: %s", len(skipped) - _WARNINGS, name, dict(Counter(skipped)))
    if not labels:
        raise DatasetError(f"no images in {name}" + (f"; {len(skipped)} files are unreadable" if skipped else ""))
    if empty := wanted - set(labels):
        raise DatasetError(f"no readable image for {_listed(empty)} in {name}; add images or remove the class")
    _require_classes(wanted, name)
    # Negative numbers: files that never became samples.
    unreadable = {-1 - i: reason for i, reason in enumerate(skipped)}
    return Dataset(name, tuple(labels), ImageReader(files), unreadable=unreadable), keys or None


def _checked_arrays(source: Any, labels: Any) -> tuple[Any, list[Label]]:
    if labels is None:
        raise DatasetError("arrays need labels: edgetl.dataset(arrays, labels), one label a sample")
    samples = source if isinstance(source, (list, tuple)) else np.asarray(source)
    if isinstance(samples, np.ndarray) and (samples.ndim < 2 or samples.dtype.kind not in "fiu"):
        raise DatasetError(f"samples must be numbers of shape (N, ...); got {samples.dtype} {samples.shape}")
    return samples, _checked_labels(labels, len(samples))


def _checked_labels(labels: Iterable[Any], count: int) -> list[Label]:
    names = [_label(value, position) for position, value in enumerate(labels)]
    if len(names) != count:
        raise DatasetError(f"{count} samples and {len(names)} labels; give one label a sample")
    if not names:
        raise DatasetError("no samples: the arrays are empty")
    if len({type(value) for value in names}) > 1:
        raise DatasetError("labels mix text and integers; use one of them")
    return names


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
