"""A frame into crops: fixed places of a camera's picture, each judged on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SampleError

__all__ = ["Crop", "CropSpec", "NamedFrame", "grid_crops"]


@dataclass(frozen=True)
class Crop:
    """A named box in fractions of the frame: left and top inside, right and bottom at most 1."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.left < self.right <= 1.0 and 0.0 <= self.top < self.bottom <= 1.0):
            raise ValueError(f"the crop {self.name!r} must lie in 0..1 with left < right and top < bottom; got {self}")


class NamedFrame(NamedTuple):
    """A crop's name and its pixels, a view (h, w, 3) or (h, w) of the frame."""

    name: str
    frame: NDArray[np.uint8]


@dataclass(frozen=True)
class CropSpec:
    """The places to look at, in order."""

    crops: Tuple[Crop, ...]

    def apply(self, frame: NDArray[np.uint8]) -> List[NamedFrame]:
        """One view a crop of a frame (H, W, 3) or (H, W); raises SampleError when a crop has no pixel in it."""
        height, width = frame.shape[:2]
        found = []
        for crop in self.crops:
            left, right = round(crop.left * width), round(crop.right * width)
            top, bottom = round(crop.top * height), round(crop.bottom * height)
            if left == right or top == bottom:
                raise SampleError(f"the crop {crop.name!r} has no pixel in a frame of {height} x {width}")
            found.append(NamedFrame(crop.name, frame[top:bottom, left:right]))
        return found


def grid_crops(rows: int, columns: int) -> CropSpec:
    """Equal tiles that cover the frame, named "row,column" from "0,0" at the top left."""
    if rows < 1 or columns < 1:
        raise ValueError(f"a grid needs at least one row and column; got {rows} x {columns}")
    return CropSpec(
        tuple(
            Crop(f"{row},{column}", column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
            for row in range(rows)
            for column in range(columns)
        )
    )
