"""The demo's small convolutional network: trained on the source, and fine-tuned on the target as a baseline."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.backbones import from_module
from edgetl.demo.domains import CLASSES, PREPROCESS
from edgetl.tuning.objective import Objective
from edgetl.tuning.recipes import Recipe
from edgetl.tuning.samples import Samples
from edgetl.tuning.training import train
from edgetl.tuning.workers import Workers

if TYPE_CHECKING:
    import torch

__all__ = ["FINETUNE_RECIPE", "MEAN", "SCALE", "accuracy", "finetuned", "tensors", "trained"]

# Network input = (pixel - MEAN) * SCALE, about -1..1.
MEAN, SCALE = 127.5, 1 / 127.5
_WIDTH, _DIM = 16, 128
FINETUNE_RECIPE = (
    "all layers, from the source weights and the source classifier, on the 10 labels a class alone: AdamW, "
    "rate 1e-3 falling to 0, 60 passes in batches of 20, random scale and shift of a tenth, batch statistics "
    "of the source kept"
)
# Random scale and shift of up to a tenth, chosen on the held-out fifth of the source.
_PLAIN = Recipe(
    steps=0, depth_rate=1.0, warmup=0.3, clip=0.0, label_smoothing=0.0, jitter=0.1, light=0.0, validation=0.0
)
_SOURCE = replace(_PLAIN, epochs=8, batch=64, rate=2e-3, head_rate=2e-3, batch_statistics="moving")
_TARGET = replace(_PLAIN, epochs=60, batch=20, rate=1e-3, head_rate=1e-3)


def tensors(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, H, W) through the very preprocessing of the device: (N, 28, 28, 1) uint8."""
    return np.concatenate([PREPROCESS.apply(frame) for frame in frames])


def trained(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], seed: int, progress: Callable[[int, int], None]
) -> torch.nn.Sequential:
    """A network (features, classifier) trained on pixels (N, 28, 28, 1); `progress` hears (step, steps)."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network()
    # Channels last trains a quarter faster on a processor.
    network.train().to(memory_format=torch.channels_last)
    _fit(network, pixels, labels, seed, _SOURCE, progress)
    return network.eval().to(memory_format=torch.contiguous_format)


def finetuned(
    network: torch.nn.Sequential, pixels: NDArray[np.uint8], labels: NDArray[np.int64], seed: int
) -> torch.nn.Sequential:
    """A copy of the whole network, trained on by FINETUNE_RECIPE; the one given is not changed."""
    tuned = copy.deepcopy(network)
    _fit(tuned, pixels, labels, seed, _TARGET, lambda done, total: None)
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
    recipe: Recipe,
    progress: Callable[[int, int], None],
) -> None:
    """The loop of `edgetl.finetune`, on a network that has a classifier already."""
    import torch

    joined = torch.nn.Sequential(OrderedDict(backbone=network[0], flatten=torch.nn.Flatten(1), head=network[1]))
    extractor = from_module(network[0], PREPROCESS, MEAN, SCALE)
    train(
        joined, extractor, Objective(len(CLASSES)), Samples(pixels, labels, CLASSES, ""), None, recipe, seed,
        Workers(0, 1, torch.device("cpu")), None, lambda step: progress(step.done, step.total or 0), "training",
    )  # fmt: skip
