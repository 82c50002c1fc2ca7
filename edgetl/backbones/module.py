"""An extractor from a torch module that is one already: a user's own network, or one fine-tuned here."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgetl_runtime.preprocess import ImagePreprocess, Preprocess

from edgetl.backbones.request import per_channel
from edgetl.errors import BackboneError
from edgetl.features import Extractor

if TYPE_CHECKING:
    import torch

__all__ = ["feature_dim", "from_module", "network_example"]


def from_module(
    module: torch.nn.Module,
    preprocess: Preprocess,
    mean: float | Sequence[float] = 0.0,
    scale: float | Sequence[float] = 1.0,
    *,
    name: str = "module",
    provenance: Mapping[str, Any] | None = None,
) -> Extractor:
    """Extractor of `module`: normalised float32 N C H W (arrays: N, *shape) -> (N, D), or anything that flattens to it.

    Network input = (pixel - mean) * scale, in pixel units, one figure or one a channel. The module is
    copied, so training the original further does not change the extractor. Raises BackboneError when it
    does not run on one sample, or gives no vector.
    """
    channels = preprocess.input.shape[-1]
    frozen = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    dim = feature_dim(frozen, network_example(preprocess), name)
    return Extractor(
        name=name,
        preprocess=preprocess,
        mean=per_channel("mean", mean, channels),
        scale=per_channel("scale", scale, channels),
        dim=dim,
        module=frozen,
        provenance=dict(provenance or {"source": "module"}),
    )


def network_example(preprocess: Preprocess) -> torch.Tensor:
    """One normalised input of zeros, as the network takes it: 1 C H W, or (1, *shape)."""
    import torch

    shape = preprocess.input.shape
    if isinstance(preprocess, ImagePreprocess):
        shape = (1, shape[3], shape[1], shape[2])
    return torch.zeros(shape)


def feature_dim(module: torch.nn.Module, example: torch.Tensor, name: str) -> int:
    """D of a module in eval mode, by running it on one sample; raises BackboneError."""
    import torch

    try:
        with torch.inference_mode():
            features = module(example)
    except Exception as error:  # whatever the network raises
        raise BackboneError(f"{name} does not run on an input of shape {tuple(example.shape)}: {error}") from error
    if not isinstance(features, torch.Tensor) or features.ndim < 2 or features.shape[0] != 1:
        got = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise BackboneError(f"{name} must give one tensor (N, D) of features; for one sample it gave {got}")
    if not features.is_floating_point():
        raise BackboneError(f"{name} must give floating-point features, got {features.dtype}")
    return int(features.flatten(1).shape[1])
