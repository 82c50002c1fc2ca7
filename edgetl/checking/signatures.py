"""What a frame looks like in a few bytes: two hashes to find its copies by, a thumbnail to judge them by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["LOOKS", "SIDE", "Look", "alike", "is_frame", "look_at"]

SIDE = 16
LOOKS = ("brightness", "contrast", "sharpness", "warmth")
_FLAT = 3.0


@dataclass(frozen=True)
class Look:
    """`hashes` (2,) uint64: signs of the low frequencies, signs of the steps from left to right. `thumbnail` (16, 16)
    uint8 grey. `figures` (4,): mean grey level 0..255, its spread, mean size of the second derivative at 128 pixels,
    red minus blue."""

    hashes: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]
    figures: NDArray[np.float32]


def is_frame(sample: NDArray[Any]) -> bool:
    """Whether a sample is a picture: uint8 (H, W), (H, W, 1) or (H, W, 3)."""
    return sample.dtype == np.uint8 and (sample.ndim == 2 or (sample.ndim == 3 and sample.shape[2] in (1, 3)))


def look_at(frame: NDArray[Any]) -> Look:
    """The look of a frame (H, W), (H, W, 1) or (H, W, 3) uint8."""
    image = Image.fromarray(frame[:, :, 0] if frame.ndim == 3 and frame.shape[2] == 1 else frame)
    colour = image if image.mode == "L" else image.resize((8, 8), Image.Resampling.BOX, reducing_gap=2.0)
    red_minus_blue = 0.0
    if image.mode != "L":
        means = np.asarray(colour, np.float64).reshape(-1, 3).mean(axis=0)
        red_minus_blue = float(means[0] - means[2])
    grey = image.convert("L").resize((128, 128), Image.Resampling.BOX, reducing_gap=2.0)
    fine = np.asarray(grey, np.float64)
    second = 4 * fine[1:-1, 1:-1] - fine[:-2, 1:-1] - fine[2:, 1:-1] - fine[1:-1, :-2] - fine[1:-1, 2:]
    coarse = fine.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    basis = _cosines()
    low = (basis @ coarse @ basis.T).ravel()[1:]
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int64)
    thumbnail = coarse.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
    figures = [fine.mean(), fine.std(), np.abs(second).mean(), red_minus_blue]
    bits = np.append(low > np.median(low), False), (steps[:, 1:] > steps[:, :-1]).ravel()
    hashes = [np.packbits(one).view(np.uint64)[0] for one in bits]
    return Look(np.array(hashes, np.uint64), np.rint(thumbnail).astype(np.uint8), np.array(figures, np.float32))


def alike(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Correlation (P,) of thumbnails (P, 16, 16), each pair's own brightness and contrast taken off.

    A flat picture has nothing to correlate: two of them are alike (1) when their grey levels are, else not (0).
    """
    one, other = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (first, second))
    levels = np.abs(one.mean(axis=1) - other.mean(axis=1))
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    spreads = np.stack([rows.std(axis=1) for rows in (one, other)])
    products = (one * other).mean(axis=1) / np.maximum(spreads[0] * spreads[1], 1e-9)
    flat = spreads < _FLAT
    result: NDArray[np.float64] = np.where(
        flat.any(axis=0), (flat.all(axis=0) & (levels < _FLAT)).astype(np.float64), products
    )
    return result


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The eight slowest cosines (8, 32) of the transform behind JPEG."""
    places = (np.arange(32) + 0.5) * np.pi / 32
    return np.cos(np.arange(8)[:, None] * places)
