"""The network that is trained: the extractor's module and a linear head, in stages with learning rates of their own."""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.heads import fit_head, fit_regressor
from edgetl_runtime.heads.calibration import fitted_temperature
from edgetl_runtime.heads.leave_one_out import loo_slda
from edgetl_runtime.preprocess import ImagePreprocess
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

from edgetl.errors import TuningError
from edgetl.tuning.recipes import Recipe

if TYPE_CHECKING:
    import torch

    from edgetl.features import Extractor

__all__ = ["joined_network", "keep_batch_statistics", "parameter_groups", "recompute_stages", "stages_of", "warm_head"]

logger = logging.getLogger(__name__)

_SMALL = 0.01  # share of the parameters below which a child is no stage of its own
_TRUNK = 0.9  # share above which a child is opened and its children are the stages
_MOST_LEFT_OUT = 500


def joined_network(
    extractor: Extractor, outputs: int, recipe: Recipe, seed: int, doubts: int = 0
) -> torch.nn.Sequential:
    """Copy of the module, flattened, and a new linear head (D -> outputs); raises TuningError for an ONNX graph.

    After the outputs of the head come `doubts` learnt numbers, 0 at first and the same for every sample.
    """
    import torch

    if extractor.module is None:
        raise TuningError(
            f"{extractor.name} is an ONNX graph, whose weights cannot be trained; use recipe 'head', or give the "
            "network as a torch module (edgetl.backbones.from_module)"
        )
    backbone = copy.deepcopy(extractor.module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = _doubting_head(extractor.dim, outputs, doubts) if doubts else torch.nn.Linear(extractor.dim, outputs)
        if recipe.start == "random":
            _draw_again(backbone)
    parts = OrderedDict(backbone=backbone, flatten=torch.nn.Flatten(1), head=head)
    network = torch.nn.Sequential(parts)
    trained = {name for stage in _trained(backbone, recipe) for name in stage}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in trained)
    if isinstance(extractor.preprocess, ImagePreprocess):
        network = network.to(memory_format=torch.channels_last)
    return network


def _doubting_head(dim: int, outputs: int, doubts: int) -> torch.nn.Linear:
    import torch

    class Doubting(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(dim, outputs)
            self.doubt = torch.nn.Parameter(torch.zeros(doubts))

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            linear = super().forward(features)
            return torch.cat([linear, self.doubt.to(linear.dtype).expand(len(linear), -1)], dim=1)

    return Doubting()


def stages_of(module: torch.nn.Module) -> list[list[str]]:
    """Names of the floating-point parameters by stage, in the order of the module; every one is in one stage.

    Stages are the children of the trunk: a child that holds nearly all parameters is opened, one that holds
    hardly any (a lone normalisation layer) goes with the stage before it.
    """
    names = {name: value.numel() for name, value in module.named_parameters() if value.is_floating_point()}
    total = sum(names.values())
    found: list[list[str]] = []
    for group in _opened(module, "", list(names), names, total):
        if found and min(sum(names[n] for n in one) for one in (group, found[-1])) < _SMALL * total:
            found[-1] += group
        else:
            found.append(group)
    return found


def _opened(
    module: torch.nn.Module, prefix: str, inside: list[str], sizes: dict[str, int], total: int
) -> list[list[str]]:
    children = [
        (child, f"{prefix}{name}.", [n for n in inside if n.startswith(f"{prefix}{name}.")])
        for name, child in module.named_children()
    ]
    children = [row for row in children if row[2]]
    own = [name for name in inside if not any(name in row[2] for row in children)]
    groups: list[list[str]] = [own] if own else []
    for child, path, names in children:
        if sum(sizes[n] for n in names) > _TRUNK * total and any(True for _ in child.children()):
            groups += _opened(child, path, names, sizes, total)
        else:
            groups.append(names)
    return groups


def parameter_groups(network: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for the optimizer, from the first trained stage to the head; `since` is the epoch at which each joins."""
    stages = _trained(network.backbone, recipe)
    parameters = dict(network.backbone.named_parameters())
    groups = []
    for depth, stage in enumerate(stages):
        above = len(stages) - 1 - depth
        factor = recipe.depth_rate ** (above / (len(stages) - 1)) if len(stages) > 1 else 1.0
        # All have joined at two thirds of the run, and are then trained together.
        since = round((above + 1) * recipe.epochs * 2 / 3 / len(stages)) if recipe.gradual else 0
        groups += _by_decay([parameters[name] for name in stage], recipe.rate * factor, recipe, since)
    return groups + _by_decay(list(network.head.parameters()), recipe.head_rate, recipe, 0)


def _by_decay(parameters: list[Any], rate: float, recipe: Recipe, since: int) -> list[dict[str, Any]]:
    """Weights decay, biases and the scales of normalisation do not."""
    rows = [([p for p in parameters if p.ndim > 1], recipe.weight_decay), ([p for p in parameters if p.ndim <= 1], 0.0)]
    return [
        {"params": chosen, "lr": rate, "rate": rate, "weight_decay": decay, "since": since}
        for chosen, decay in rows
        if chosen
    ]


def keep_batch_statistics(network: torch.nn.Module) -> None:
    """Put the batch normalisation layers of a network in training mode back to evaluating."""
    from torch.nn.modules.batchnorm import _BatchNorm

    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


def recompute_stages(network: Any, recipe: Recipe) -> None:
    """Keep only what goes into each trained child of the trunk for the backward pass, and compute the rest again."""
    from torch.utils.checkpoint import checkpoint

    for path in _children_of(stage for stage in _trained(network.backbone, recipe)):
        child = network.backbone.get_submodule(path)
        child.forward = partial(checkpoint, child.forward, use_reentrant=False)


def warm_head(
    network: Any, features: NDArray[np.float32], wanted: NDArray[np.float32], blocks: Sequence[tuple[int, int, bool]]
) -> None:
    """Put a closed-form head on features (N, D) into the network, block by block of its columns (start, stop, classes).

    Of one-hot classes (N, K): SLDA, tempered by its leave-one-out decisions; of standardised numbers (N, Q): ridge.
    Samples whose label is missing (NaN) are left out.
    """
    import torch

    for start, stop, classes in blocks:
        there = np.isfinite(wanted[:, start])
        weights, bias = (_slda if classes else _ridge)(features[there], wanted[there, start:stop])
        with torch.no_grad():
            network.head.weight[start:stop].copy_(torch.from_numpy(weights))
            network.head.bias[start:stop].copy_(torch.from_numpy(bias))


def _ridge(features: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[Any, Any]:
    statistics = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64))
    statistics.add(features, targets=wanted)
    head: Any = fit_regressor("ridge", statistics)
    return head.weights, head.bias - head.weights @ head.shift


def _slda(features: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[Any, Any]:
    truth = wanted.argmax(axis=1)
    statistics = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64))
    statistics.add(features, truth)
    head: Any = fit_head("slda", statistics)
    row = {label: position for position, label in enumerate(head.classes)}
    few = np.random.default_rng(0).permutation(len(features))[:_MOST_LEFT_OUT]
    codes = np.array([row[code] for code in truth[few].tolist()], dtype=np.int64)
    decision = loo_slda(statistics, features[few], codes)
    usable = np.isfinite(decision).all(axis=1)
    temperature = fitted_temperature(decision[usable], codes[usable]) if usable.sum() > 1 else 1.0
    weights, bias = np.zeros((wanted.shape[1], features.shape[1])), np.zeros(wanted.shape[1])
    for code, position in row.items():
        weights[code] = head.weights[position] / temperature
        bias[code] = (head.bias[position] - head.weights[position] @ head.shift) / temperature
    return weights, bias


def _trained(backbone: torch.nn.Module, recipe: Recipe) -> list[list[str]]:
    stages = stages_of(backbone)
    count = max(round(recipe.blocks * len(stages)), 1 if recipe.blocks else 0)
    return stages[len(stages) - count :]


def _children_of(stages: Any) -> list[str]:
    """Dotted names of the modules that hold each stage's parameters, without those inside another."""
    paths: list[str] = []
    for stage in stages:
        common = stage[0].split(".")[:-1]
        for name in stage[1:]:
            parts = name.split(".")
            same = 0
            while same < min(len(common), len(parts)) and common[same] == parts[same]:
                same += 1
            common = common[:same]
        if common:
            paths.append(".".join(common))
    return [path for path in paths if not any(path.startswith(other + ".") for other in paths)]


def _draw_again(module: torch.nn.Module) -> None:
    """New weights for every layer that knows how to draw its own; the others keep theirs, and are named in the log."""
    kept = []
    for path, layer in module.named_modules():
        draw = getattr(layer, "reset_parameters", None)
        if callable(draw):
            draw()
        elif own := [name for name, _ in layer.named_parameters(recurse=False)]:
            kept += [f"{path}.{name}".strip(".") for name in own]
    if kept:
        logger.warning("kept as they were, since their layer cannot draw them: %s", ", ".join(kept))
