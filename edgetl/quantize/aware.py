"""Quantization-aware tuning: a network that learns to give its own float32 features when it is rounded to INT8.

The rounded network is taught by the network as it was (distillation), so no label is needed and what the features
mean stays. Rounding is torch's own `FakeQuantize`, gradients go straight through it (Bengio et al. 2013; Jacob et
al. 2018). What comes out is a float32 network again, to be exported and quantized as any other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import QuantizeError
from edgetl.features import normalised_input
from edgetl.progress import Progress, Step, silent

if TYPE_CHECKING:
    import torch

    from edgetl.features import Extractor

__all__ = ["BATCH", "LEARNING_RATE", "tuned_extractor"]

LEARNING_RATE = 3e-5
BATCH = 16


def tuned_extractor(
    extractor: Extractor,
    tensors: Sequence[NDArray[Any]],
    epochs: int,
    *,
    learning_rate: float = LEARNING_RATE,
    batch: int = BATCH,
    seed: int = 0,
    progress: Progress = silent,
) -> Extractor:
    """The extractor with weights that lose less by INT8; the one given stays as it is.

    `tensors` are training samples as the graph takes them, (1, *shape). Batch statistics stay as they are. Raises
    QuantizeError for an extractor that is no torch module, or when tuning ends in NaN.
    """
    import torch

    if extractor.module is None:
        raise QuantizeError(f"{extractor.name} is an ONNX graph; only a torch module can be tuned to be quantized")
    if epochs < 1 or not tensors:
        raise QuantizeError(f"tuning needs at least one epoch and one sample; got {epochs} and {len(tensors)}")
    torch.manual_seed(seed)
    teacher = extractor.module.eval()
    student = copy.deepcopy(teacher)
    for parameter in student.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with _Rounded(student):
        with torch.no_grad():  # the first pass only looks at ranges
            for start in range(0, min(len(tensors), 4 * batch), batch):
                student(_normalised(extractor, tensors[start : start + batch]))
        optimizer = torch.optim.Adam([p for p in student.parameters() if p.requires_grad], learning_rate)
        order = np.random.default_rng(seed)
        steps = -(-len(tensors) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
        for epoch in range(epochs):
            mixed = order.permutation(len(tensors))
            for step in range(steps):
                inputs = _normalised(extractor, [tensors[i] for i in mixed[step * batch : (step + 1) * batch]])
                with torch.no_grad():
                    wanted = teacher(inputs).flatten(1)
                loss = ((student(inputs).flatten(1) - wanted) ** 2).mean() / wanted.var().clamp_min(1e-12)
                if not bool(torch.isfinite(loss)):
                    raise QuantizeError(f"tuning {extractor.name} ended in NaN; try a smaller learning rate")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress(Step("quantization-aware tuning", epoch * steps + step + 1, epochs * steps))
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    provenance = {**extractor.provenance, "quantization_aware_epochs": epochs}
    return replace(extractor, module=student.eval(), provenance=provenance)


class _Rounded:
    """While it lasts, weights of layers are rounded a channel, and what goes into them a tensor, as INT8 will do."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network
        self._hooks: list[Any] = []
        self._layers: list[torch.nn.Module] = []

    def __enter__(self) -> None:
        import torch
        from torch.ao import quantization
        from torch.nn.utils import parametrize

        fake: Any = quantization.FakeQuantize
        for layer in list(self._network.modules()):
            if not isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Conv3d | torch.nn.Linear):
                continue
            weights = fake(
                quantization.MovingAveragePerChannelMinMaxObserver, -127, 127, averaging_constant=1.0,
                dtype=torch.qint8, qscheme=torch.per_channel_symmetric, ch_axis=0,
            )  # fmt: skip
            entering = fake(
                quantization.MovingAverageMinMaxObserver, 0, 255, averaging_constant=0.05, dtype=torch.quint8
            )
            parametrize.register_parametrization(layer, "weight", weights)
            self._layers.append(layer)
            self._hooks.append(layer.register_forward_pre_hook(_rounding(entering)))

    def __exit__(self, *error: object) -> None:
        from torch.nn.utils import parametrize

        for hook in self._hooks:
            hook.remove()
        for layer in self._layers:  # the weights that were trained, not what rounding made of them
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def _rounding(fake: Any) -> Any:
    def hook(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (fake(inputs[0]), *inputs[1:])

    return hook


def _normalised(extractor: Extractor, tensors: Sequence[NDArray[Any]]) -> torch.Tensor:
    import torch

    return normalised_input(extractor, torch.from_numpy(np.concatenate(list(tensors)))).contiguous()
