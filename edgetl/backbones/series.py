"""A small network for raw windows of a sensor: depthwise separable 1-D convolutions over time.

Howard et al. 2017 (MobileNets) along one axis; what goes to the head is the mean and the log deviation over time, and
the log power of the first filters, as for muscles and brains (Schirrmeister et al. 2017). Batch normalisation is
folded into the convolutions by the export.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["conv1d_network", "triads_of"]

_KERNEL = 9
_LEAST_STEPS = 8  # no layer makes a window shorter than this
_STEPS = 256  # what the first layer brings a longer window down to, about
_SMALLEST = 1e-3  # power below which a filter is silent; standardised channels have power 1


def triads_of(channels: Sequence[str], units: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """Positions of the x, y and z of each sensor of three axes: names that differ in that letter, of one unit."""
    places = {name: position for position, name in enumerate(channels)}
    found = []
    for position, name in enumerate(channels):
        for letter, axes in (("x", "yz"), ("X", "YZ")):
            for at in (at for at, one in enumerate(name) if one == letter):
                others = [places.get(name[:at] + axis + name[at + 1 :]) for axis in axes]
                triad = (position, *(other for other in others if other is not None))
                if len(triad) == 3 and (not units or len({units[place] for place in triad}) == 1):
                    found.append(triad)
    return tuple(dict.fromkeys(found))


def conv1d_network(
    steps: int,
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    widths: Sequence[int],
    triads: Sequence[tuple[int, int, int]] = (),
    turn_deg: float = 0.0,
) -> torch.nn.Module:
    """A network (N, T, C) -> (N, D) of raw values, D = 2 widths[-1] + widths[0].

    `mean` and `scale` (C,) standardise: (value - mean) * scale; they are kept with the weights. Every block halves T
    while it is long enough; a window of more than 512 steps is brought down by the first layer already. In training
    the `triads` of every window are turned together about a random axis by up to `turn_deg`.
    """
    import torch
    from torch import nn

    channels = len(mean)

    class Standardised(nn.Module):
        """Raw windows (N, T, C), turned while training, to (N, C, T) of mean 0 and deviation 1."""

        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
            self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            if self.training and triads:
                windows = _turned(windows, triads, turn_deg)
            return ((windows - self.mean) * self.scale).transpose(1, 2)

    class Described(nn.Module):
        """(N, T, C) raw -> (N, D)."""

        def __init__(self) -> None:
            super().__init__()
            stride = max(1, steps // _STEPS)
            kernel = max(_KERNEL, 2 * stride + 1)
            first = nn.Conv1d(channels, widths[0], kernel, stride, kernel // 2, bias=False)
            self.filters = nn.Sequential(Standardised(), first, nn.BatchNorm1d(widths[0]))
            self.blocks = nn.Sequential(nn.ReLU(), *_blocks(-(-steps // stride), widths))

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            filtered = self.filters(windows)
            found = self.blocks(filtered)
            mean = found.mean(dim=2)
            power = ((found - mean.unsqueeze(2)) ** 2).mean(dim=2)
            first = (filtered * filtered).mean(dim=2)
            # Half the logarithm of a power is that of a deviation.
            logs = 0.5 * torch.log(torch.cat([power, first], dim=1) + _SMALLEST)
            return torch.cat([mean, logs], dim=1)

    return Described()


def _blocks(steps: int, widths: Sequence[int]) -> list[Any]:
    from torch import nn

    layers: list[Any] = []
    for inner, outer in pairwise(widths):
        stride = 2 if steps >= 2 * _LEAST_STEPS else 1
        steps = -(-steps // stride)
        layers += [
            nn.Conv1d(inner, inner, _KERNEL, stride, _KERNEL // 2, groups=inner, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(),
            nn.Conv1d(inner, outer, 1, bias=False),
            nn.BatchNorm1d(outer),
            nn.ReLU(),
        ]
    return layers


def _turned(windows: torch.Tensor, triads: Sequence[tuple[int, int, int]], most_deg: float) -> torch.Tensor:
    """Each window (T, C) turned by a rotation of its own: an axis at random, an angle of up to `most_deg`.

    Of 180 degrees any rotation is as likely as any other.
    """
    import torch

    count = len(windows)
    quaternion = torch.randn(count, 4, device=windows.device)
    if most_deg < 180.0:
        half = torch.rand(count, 1, device=windows.device) * np.deg2rad(most_deg) / 2
        axis = torch.nn.functional.normalize(quaternion[:, 1:], dim=1)
        quaternion = torch.cat([torch.cos(half), axis * torch.sin(half)], dim=1)
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=1).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    rotation = torch.stack(rows, dim=1).view(count, 3, 3).to(windows.dtype)
    turned = windows.clone()
    for triad in triads:
        turned[:, :, list(triad)] = windows[:, :, list(triad)] @ rotation.transpose(1, 2)
    return turned
