"""What an answer rests on: parts of a sample are covered one after the other, and the answer is asked again.

Occlusion (Zeiler and Fergus 2014) needs the deployed graph and the head alone, so it holds for every backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.engines import Engine
from edgetl_runtime.heads import Head, TargetHead
from numpy.typing import NDArray
from PIL import Image

from edgetl.extraction import run_engine

__all__ = ["Ask", "Occlusion", "evidence_of", "lit", "occluded_image", "occluded_text", "occluded_window"]

Ask = Callable[[NDArray[Any]], float]
_PATCH = 0.25  # of the side of a picture
_COLUMN = 0.15  # of the length of a window
_DARKEST, _GAMMA = 0.28, 0.7


@dataclass(frozen=True)
class Occlusion:
    """How far the evidence falls when a part is covered: `fall` (G, G) of a picture's patches, row by row, or (G,) of a
    window's stretches or a text's words; `channels` (C) of a window's channels, each covered whole. `lowest` is the
    least evidence.
    """

    evidence: float
    lowest: float
    fall: NDArray[np.float64]
    channels: tuple[float, ...] = ()

    @property
    def shares(self) -> NDArray[np.float64]:
        """`fall` from 0 (nothing, or it rose) to 1 (the most)."""
        fallen = np.maximum(self.fall, 0.0)
        result: NDArray[np.float64] = fallen / (fallen.max() or 1.0)
        return result


def evidence_of(engine: Engine, head: Head, place: int) -> Ask:
    """Of a tensor: the log-odds of class `place` of the head; of numbers, the output at `place`."""

    def ask(tensor: NDArray[Any]) -> float:
        features = run_engine(engine, tensor)[None]
        if isinstance(head, TargetHead):
            return float(head.decision(features)[0, place])
        share = float(np.clip(head.predict_proba(features)[0, place], 1e-12, 1 - 1e-12))
        return float(np.log(share / (1 - share)))

    return ask


def occluded_image(tensor: NDArray[Any], ask: Ask, grid: int = 8, both_ways: bool = False) -> Occlusion:
    """A picture (1, H, W, C) uint8 under a square of its mean colour at `grid` x `grid` places, which overlap.

    With `both_ways` a rise counts as a fall does: of a number, a change.
    """
    side_y, side_x = (max(1, round(_PATCH * side)) for side in tensor.shape[1:3])
    rows = np.linspace(0, tensor.shape[1] - side_y, grid).round().astype(int)
    columns = np.linspace(0, tensor.shape[2] - side_x, grid).round().astype(int)
    colour = tensor[0].reshape(-1, tensor.shape[3]).mean(axis=0).round().astype(tensor.dtype)
    before = ask(tensor)
    after = np.empty((grid, grid))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            covered = tensor.copy()
            covered[0, y : y + side_y, x : x + side_x] = colour
            after[i, j] = ask(covered)
    return _fallen(before, after, (), both_ways)


def occluded_window(tensor: NDArray[Any], ask: Ask, stretches: int = 16, both_ways: bool = False) -> Occlusion:
    """A window (1, T, C) float32 whose stretches, which overlap, and then whose channels, are put to their means."""
    length = tensor.shape[1]
    wide = max(1, round(_COLUMN * length))
    means = tensor.mean(axis=1, keepdims=True)
    before = ask(tensor)
    after, channels = np.empty(stretches), []
    for i, start in enumerate(np.linspace(0, length - wide, stretches).round().astype(int)):
        covered = tensor.copy()
        covered[:, start : start + wide] = means
        after[i] = ask(covered)
    for channel in range(tensor.shape[2] if tensor.shape[2] > 1 else 0):
        covered = tensor.copy()
        covered[:, :, channel] = means[:, :, channel]
        channels.append(before - ask(covered))
    return _fallen(before, after, tuple(abs(one) if both_ways else one for one in channels), both_ways)


def occluded_text(texts: Sequence[str], ask: Callable[[Sequence[str]], float], both_ways: bool = False) -> Occlusion:
    """A text (W words) without each of its words in turn; `ask` takes words."""
    before = ask(texts)
    after = np.array([ask([*texts[:place], *texts[place + 1 :]]) for place in range(len(texts))])
    return _fallen(before, after, (), both_ways)


def lit(picture: NDArray[Any], occlusion: Occlusion) -> NDArray[np.uint8]:
    """The picture (H, W, 3 or 1) uint8 with the parts that matter left as they are, and the others dark."""
    height, width = picture.shape[:2]
    grid = occlusion.fall.shape[0]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    side_y, side_x = max(1, round(_PATCH * height)), max(1, round(_PATCH * width))
    for i, y in enumerate(np.linspace(0, height - side_y, grid).round().astype(int)):
        for j, x in enumerate(np.linspace(0, width - side_x, grid).round().astype(int)):
            total[y : y + side_y, x : x + side_x] += max(occlusion.fall[i, j], 0.0)
            count[y : y + side_y, x : x + side_x] += 1
    share = total / np.maximum(count, 1)
    share = (share / (share.max() or 1.0)) ** _GAMMA
    smooth = Image.fromarray((255 * share).astype(np.uint8)).resize((2 * grid, 2 * grid), Image.Resampling.BOX)
    light = np.asarray(smooth.resize((width, height), Image.Resampling.BICUBIC), np.float64)[:, :, None] / 255
    result: NDArray[np.uint8] = (picture * (_DARKEST + (1 - _DARKEST) * light)).astype(np.uint8)
    return result


def _fallen(
    before: float, after: NDArray[np.float64], channels: tuple[float, ...], both_ways: bool
) -> Occlusion:
    fall = np.abs(before - after) if both_ways else before - after
    far = after.flat[int(np.argmax(fall))]
    return Occlusion(before, float(far), fall, channels)
