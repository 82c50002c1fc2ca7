"""The demo's small convolutional network: trained on the source, and fine-tuned on the target as a baseline."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.demo.domains import CLASSES, PREPROCESS

if TYPE_CHECKING:
    import torch

__all__ = ["FINETUNE_RECIPE", "MEAN", "SCALE", "accuracy", "finetuned", "tensors", "trained"]

# Network input = (pixel - MEAN) * SCALE, about -1..1.
MEAN, SCALE = 127.5, 1 / 127.5
_WIDTH, _DIM = 16, 128
_EPOCHS, _BATCH, _RATE = 8, 64, 2e-3
# Random scale and shift of up to a tenth, chosen on the held-out fifth of the source.
_JITTER = 0.1

FINETUNE_RECIPE = (
    "all layers, from the source weights and the source classifier, on the 10 labels a class alone: AdamW, "
    "rate 1e-3 falling to 0, 60 passes in batches of 20, random scale and shift of a tenth, batch statistics "
    "of the source kept"
)
_TUNE_EPOCHS, _TUNE_BATCH, _TUNE_RATE = 60, 20, 1e-3


def tensors(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, H, W) through the very preprocessing of the device: (N, 28, 28, 1) uint8."""
    return np.concatenate([PREPROCESS.apply(frame) for frame in frames])


def trained(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], seed: int, progress: Callable[[int, int], None]
) -> torch.nn.Sequential:
    """A network (features, classifier) trained on pixels (N, 28, 28, 1); `progress` hears (pass, passes)."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network()
    # Channels last trains a quarter faster on a processor.
    network.train().to(memory_format=torch.channels_last)
    _fit(network, pixels, labels, seed, _EPOCHS, _BATCH, _RATE, progress)
    return network.eval().to(memory_format=torch.contiguous_format)


def finetuned(
    network: torch.nn.Sequential, pixels: NDArray[np.uint8], labels: NDArray[np.int64], seed: int
) -> torch.nn.Sequential:
    """A copy of the whole network, trained on by FINETUNE_RECIPE; the one given is not changed."""
    tuned = copy.deepcopy(network).eval()
    _fit(tuned, pixels, labels, seed, _TUNE_EPOCHS, _TUNE_BATCH, _TUNE_RATE, lambda done, total: None)
    return tuned


def accuracy(network: torch.nn.Sequential, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Share (0..1) of pixels (N, 28, 28, 1) that the network's own classifier names rightly."""
    import torch

    with torch.inference_mode():
        said = torch.cat([network(part).argmax(1) for part in torch.split(_input(pixels), 256)])
    return float((said.numpy() == labels).mean())


def _network() -> torch.nn.Sequential:
    from torch import nn

    def block(inputs: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    w = _WIDTH
    features = nn.Sequential(
        *(*block(1, w), *block(w, w), nn.MaxPool2d(2)),
        *(*block(w, 2 * w), *block(2 * w, 2 * w), nn.MaxPool2d(2)),
        *(*block(2 * w, 4 * w), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(4 * w * 9, _DIM), nn.ReLU()),
    )
    return nn.Sequential(features, nn.Linear(_DIM, len(CLASSES)))


def _input(pixels: NDArray[np.uint8]) -> torch.Tensor:
    import torch

    return (torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() - MEAN) * SCALE


def _fit(
    network: torch.nn.Sequential,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    seed: int,
    epochs: int,
    batch: int,
    rate: float,
    progress: Callable[[int, int], None],
) -> None:
    import torch
    from torch.nn import functional

    inputs, targets = _input(pixels), torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    steps = epochs * -(-len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for epoch in range(epochs):
        for places in torch.split(torch.randperm(len(inputs), generator=generator), batch):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(_jittered(inputs[places], generator)), targets[places])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        progress(epoch + 1, epochs)


def _jittered(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image scaled and shifted by chance; what comes in from outside is black, the -1 of this input."""
    import torch
    from torch.nn import functional

    def draw(*shape: int) -> torch.Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1) * _JITTER

    matrix = torch.zeros(len(images), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 + draw(len(images))
    matrix[:, :, 2] = draw(len(images), 2)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1
