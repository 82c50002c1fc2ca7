"""COCO annotations as a classification dataset: one crop a box."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.images import read_image
from numpy.typing import NDArray

from edgetl.data.paths import PathTable
from edgetl.errors import DatasetError

__all__ = ["CropReader", "coco_crops"]

_log = logging.getLogger(__name__)

_LEAST_SIDE = 8
_MOST_SIDE = 1e9


@dataclass(frozen=True)
class CropReader:
    """Boxes `boxes` (N, 4), left, top, width and height in pixels, of the images number `images` (N)."""

    paths: PathTable
    images: NDArray[np.int32]
    boxes: NDArray[np.float32]

    def read(self, index: int) -> NDArray[Any]:
        """The crop (H, W, 3), cut to the frame; raises SourceError."""
        frame = _whole(self.paths[int(self.images[index])])
        left, top, width, height = self.boxes[index].tolist()
        rows = slice(max(0, round(top)), min(frame.shape[0], round(top + height)))
        columns = slice(max(0, round(left)), min(frame.shape[1], round(left + width)))
        crop = frame[rows, columns]
        if 0 in crop.shape:
            raise SourceError(
                f"{self.name(index)}: the box lies outside its image of {frame.shape[1]} x {frame.shape[0]} pixels"
            )
        return np.ascontiguousarray(crop)

    def content(self, index: int) -> bytes:
        """Shape and pixels of the crop; raises SourceError."""
        crop = self.read(index)
        return f"{crop.shape}".encode() + crop.tobytes()

    def name(self, index: int) -> str:
        """Where the crop is from."""
        left, top, width, height = (round(side) for side in self.boxes[index].tolist())
        return f"{self.paths.name(int(self.images[index]))} [{left},{top},{width}x{height}]"


def coco_crops(path: Path, images: Path | None) -> tuple[CropReader, list[str], list[str], Counter[str]]:
    """Reader, label and file name of the image of each box, and how many boxes were left out, by reason.

    Labels are the names of the categories. Boxes of crowds, and those below 8 pixels on a side, are left out. The
    file is JSON and is read whole. Raises DatasetError: no JSON of that kind, a box of no image or category.
    """
    try:
        document = json.loads(path.read_bytes())
        names = {entry["id"]: str(entry["name"]).strip() for entry in document["categories"]}
        files = {entry["id"]: str(entry["file_name"]) for entry in document["images"]}
        annotations = list(document["annotations"])
        "".join(files.values()).encode()  # JSON can say letters that no file name has
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(f"{path} is no COCO annotation file (images, categories, annotations): {error!r}") from error
    root = images if images is not None else _image_root(path, files)
    order = {image: number for number, image in enumerate(files)}
    boxes, numbers, labels, groups = [], [], [], []
    left_out: Counter[str] = Counter()
    for position, entry in enumerate(annotations):
        box, label, image = _checked(path, position, entry, names, files)
        if entry.get("iscrowd"):
            left_out["crowd"] += 1
        elif min(box[2:]) < _LEAST_SIDE:
            left_out["too small"] += 1
        else:
            boxes.append(box)
            numbers.append(order[image])
            labels.append(label)
            groups.append(files[image])
    if left_out:
        _log.warning("left out of %s: %s", path, ", ".join(f"{n} {why}" for why, n in left_out.items()))
    if not boxes:
        raise DatasetError(f"{path} has no box of {_LEAST_SIDE} pixels or more")
    reader = CropReader(PathTable(root, files.values()), np.array(numbers, np.int32), np.array(boxes, np.float32))
    return reader, labels, groups, left_out


def _checked(
    path: Path, position: int, entry: Any, names: Mapping[Any, str], files: Mapping[Any, str]
) -> tuple[list[float], str, Any]:
    where = f"{path}, annotation {position}"
    try:
        box, label, image = [float(side) for side in entry["bbox"]], names[entry["category_id"]], entry["image_id"]
        known = image in files
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise DatasetError(f"{where}: needs bbox, category_id and image_id that are there; {error!r}") from error
    if not known or len(box) != 4 or not all(abs(side) < _MOST_SIDE for side in box) or not label:
        raise DatasetError(f"{where}: bbox must be four numbers of pixels, of an image and a category that are listed")
    return box, label, image


def _image_root(path: Path, files: Mapping[Any, str]) -> Path:
    """Beside the file, in `images/` beside it, or one folder up: the first place where the first image lies."""
    first = next(iter(files.values()), "")
    places = (path.parent, path.parent / "images", path.parent.parent / "images", path.parent.parent)
    for place in places:
        if first and (place / first).is_file():
            return place
    raise DatasetError(f"the image {first!r} lies neither beside {path} nor in images/; name its folder: images=")


@lru_cache(maxsize=2)
def _whole(path: Path) -> NDArray[np.uint8]:
    """Boxes of one image follow each other: it is decoded once."""
    return read_image(path)
