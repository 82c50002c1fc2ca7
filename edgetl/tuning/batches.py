"""Batches on the device of the network: normalised, in the layout of the network, changed by chance.

What is by chance is drawn for a whole epoch from (seed, epoch) alone, so that neither the number of processes nor a
resumed run changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.preprocess import ImagePreprocess
from numpy.typing import NDArray

from edgetl.features import normalised_input
from edgetl.tuning.recipes import Recipe

if TYPE_CHECKING:
    import torch

    from edgetl.features import Extractor

__all__ = ["EpochDraw", "draw_epoch", "network_batch"]

_COLUMNS = 6  # zoom, right, down, mirror, brightness, contrast


@dataclass(frozen=True)
class EpochDraw:
    """`steps` batches of places, `changes` (N, 6) in 0..1 by place, `shares` (steps) and `partners` of mixup."""

    steps: tuple[NDArray[np.int64], ...]
    changes: NDArray[np.float32]
    shares: NDArray[np.float64]
    partners: tuple[NDArray[np.int64], ...]


def draw_epoch(count: int, recipe: Recipe, seed: int, epoch: int) -> EpochDraw:
    """Order and chances of one epoch of `count` samples; batches are as even as can be."""
    generator = np.random.default_rng([seed, 7, epoch])
    steps = np.array_split(generator.permutation(count), -(-count // recipe.batch))
    changes = generator.random((count, _COLUMNS), dtype=np.float32)
    shares = generator.beta(recipe.mixup, recipe.mixup, len(steps)) if recipe.mixup else np.ones(len(steps))
    partners = tuple(generator.permutation(step) for step in steps)
    return EpochDraw(tuple(steps), changes, shares, partners)


def network_batch(
    extractor: Extractor,
    tensors: NDArray[Any],
    device: torch.device,
    recipe: Recipe | None = None,
    changes: NDArray[np.float32] | None = None,
) -> torch.Tensor:
    """Network input of tensors (N, *shape) as preprocessing gave them; with `changes` (N, 6) images are varied."""
    import torch

    inputs = normalised_input(extractor, torch.from_numpy(np.ascontiguousarray(tensors)).to(device, non_blocking=True))
    if not isinstance(extractor.preprocess, ImagePreprocess):
        return inputs
    if recipe is not None and changes is not None and (recipe.jitter or recipe.light or recipe.flip):
        inputs = _varied(inputs, torch.from_numpy(changes).to(device), recipe)
    return inputs.contiguous(memory_format=torch.channels_last)


def _varied(images: torch.Tensor, chance: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    import torch
    from torch.nn import functional

    sides = chance * 2 - 1
    if recipe.jitter or recipe.flip:
        matrix = images.new_zeros(len(images), 2, 3)
        zoom = 1 + recipe.jitter * sides[:, 0]
        mirrored = torch.where(chance[:, 3] < 0.5, -1.0, 1.0) if recipe.flip else torch.ones_like(zoom)
        matrix[:, 0, 0], matrix[:, 1, 1] = zoom * mirrored, zoom
        matrix[:, :, 2] = recipe.jitter * sides[:, 1:3]
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if recipe.light:
        contrast = (1 + recipe.light * sides[:, 5])[:, None, None, None]
        spread = images.std(dim=(1, 2, 3), keepdim=True)
        brightness = recipe.light * sides[:, 4][:, None, None, None] * spread
        middle = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - middle) * contrast + middle + brightness
    return images
