"""Is one picture a part of another, or its mirror image: every place, several sizes, by correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["CROP_SIDE", "part_of", "small_grey"]

CROP_SIDE = 64
_SCALES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8)

Array = NDArray[np.float64]


def small_grey(frame: NDArray[Any]) -> NDArray[np.uint8]:
    """A frame as grey (64, 64) uint8, stretched."""
    image = Image.fromarray(frame[:, :, 0] if frame.ndim == 3 and frame.shape[2] == 1 else frame).convert("L")
    return np.asarray(image.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BOX, reducing_gap=2.0))


def part_of(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """The best correlation of either (64, 64) with a part of the other of 80 % of its side or more, or mirrored.

    Normalised cross-correlation at every offset, by the Fourier transform (Lewis 1995); 28 transforms.
    """
    best = -1.0
    for whole, part in ((first, second), (second, first)):
        image = Image.fromarray(part)
        for scale in _SCALES:
            side = round(CROP_SIDE * scale)
            template = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float64)
            for turned in (template, template[:, ::-1]):
                best = max(best, _best_place(whole.astype(np.float64), turned))
    return best


def _best_place(whole: Array, template: Array) -> float:
    side, room = len(template), CROP_SIDE - len(template) + 1
    centred = template - template.mean()
    size = float((centred**2).sum())
    spectrum = np.fft.rfft2(whole) * np.conj(np.fft.rfft2(centred, whole.shape))
    products = np.fft.irfft2(spectrum, whole.shape)[:room, :room]
    count = side * side
    spread = _window_sums(whole**2, side) - _window_sums(whole, side) ** 2 / count
    return float((products / np.sqrt(np.maximum(spread, 9.0 * count) * max(size, 9.0 * count))).max())


def _window_sums(values: Array, side: int) -> Array:
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    result: Array = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return result
