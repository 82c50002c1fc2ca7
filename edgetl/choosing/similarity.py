"""How far the user's data is from what a network was trained on, by the statistics that the network itself carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.features import normalised_input

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["normal_gap", "source_gap"]

_SAMPLES = 128
_CHUNK = 32


def source_gap(extractor: Extractor, tensors: NDArray[Any]) -> float | None:
    """Mean symmetric Kullback-Leibler divergence (nats a channel) of what enters each batch normalisation layer.

    Between normal distributions with the running statistics of the source and with those of at most 128 tensors
    (N, *shape) as preprocessing gives them; the median over channels, the mean over layers. 0 is alike. None for an
    ONNX graph or a network without such statistics, or where they were folded away (all 0 and 1).
    """
    if extractor.module is None:
        return None
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    layers = [
        layer
        for layer in extractor.module.modules()
        if isinstance(layer, _BatchNorm)
        and layer.running_mean is not None
        and layer.running_var is not None
        and not (bool((layer.running_mean == 0).all()) and bool((layer.running_var == layer.running_var[0]).all()))
    ]
    if not layers:
        return None
    sums: dict[Any, list[Any]] = {layer: [] for layer in layers}

    def seen(layer: Any, inputs: tuple[Any, ...]) -> None:
        channels = inputs[0].transpose(0, 1).flatten(1).double()
        sums[layer].append((channels.shape[1], channels.sum(dim=1), (channels**2).sum(dim=1)))

    hooks = [layer.register_forward_pre_hook(seen) for layer in layers]
    chosen = tensors[np.linspace(0, len(tensors) - 1, min(len(tensors), _SAMPLES)).astype(int)]
    try:
        with torch.inference_mode():
            for start in range(0, len(chosen), _CHUNK):
                part = torch.from_numpy(np.array(chosen[start : start + _CHUNK]))
                extractor.module.eval()(normalised_input(extractor, part).contiguous())
    finally:
        for hook in hooks:
            hook.remove()
    gaps = []
    for layer in layers:
        if not sums[layer]:
            continue  # a branch that does not run in evaluating mode
        count = sum(row[0] for row in sums[layer])
        mean = sum(row[1] for row in sums[layer]) / count
        spread = (sum(row[2] for row in sums[layer]) / count - mean**2).clamp_min(0) + layer.eps
        known: Any = layer
        theirs, their_spread = known.running_mean.double(), known.running_var.double() + known.eps
        gaps.append(float(normal_gap(mean, spread, theirs, their_spread).median()))
    return float(np.mean(gaps)) if gaps else None


def normal_gap(mean: Any, spread: Any, other_mean: Any, other_spread: Any) -> Any:
    """Mean of both Kullback-Leibler divergences (nats) between normal distributions of these means and variances (C).

    NumPy arrays or torch tensors, elementwise.
    """
    squared = (mean - other_mean) ** 2
    return 0.25 * ((spread + squared) / other_spread + (other_spread + squared) / spread - 2)
