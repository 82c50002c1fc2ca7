"""A log-mel front end of fixed matrices, and small networks behind it: over time, or over bands and time.

Devices have no DFT in their graphs, so the spectrum is a convolution with fixed cosines and sines under a window,
and the mel bands are a matrix. Bands are those of HTK: mel = 2595 log10(1 + f / 700), triangles between points
at equal distances in mel, not normalised by their width (`torchaudio.functional.melscale_fbanks` with its defaults,
`librosa.filters.mel(htk=True, norm=None)`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["LogMel", "log_mel_layer", "log_mel_network", "mel_bands", "standardise_bands"]

_QUARTERS = 4


@dataclass(frozen=True)
class LogMel:
    """Frames of `frame` samples every `hop`, under a periodic Hann window, into `bands` mel bands.

    Nothing is padded at the ends: T samples give 1 + (T - frame) // hop frames. The spectrum has `bins` points a
    turn (zeros fill a frame up), and power is relative to a sine of full scale, whose peak has 1; the answer is the
    natural logarithm of band power + `floor`.
    """

    rate_hz: float
    frame: int
    hop: int
    bins: int
    bands: int
    low_hz: float
    high_hz: float
    floor: float = 1e-6

    @staticmethod
    def of(rate_hz: float, bands: int = 40) -> LogMel:
        """Frames of 25 ms every 10 ms, from 20 Hz to half the rate."""
        frame, hop = round(0.025 * rate_hz), round(0.010 * rate_hz)
        return LogMel(rate_hz, frame, hop, 1 << (frame - 1).bit_length(), bands, 20.0, rate_hz / 2)

    def frames(self, steps: int) -> int:
        """How many frames T steps give; 0 when they are too few for one."""
        return max(0, 1 + (steps - self.frame) // self.hop)


def mel_bands(front: LogMel) -> NDArray[np.float64]:
    """Weights (bands, bins / 2 + 1) of each frequency in each band."""
    frequencies = np.arange(front.bins // 2 + 1) * front.rate_hz / front.bins
    low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (front.low_hz, front.high_hz))
    points = 700.0 * (10.0 ** (np.linspace(low, high, front.bands + 2) / 2595.0) - 1.0)
    rising = (frequencies - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - frequencies) / np.diff(points)[1:, None]
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return weights


def log_mel_layer(front: LogMel) -> nn.Module:
    """A layer (N, T, 1) -> (N, bands, frames) without anything to train; its figures are standardised by band.

    `offset` and `gain` (bands, 1), 0 and 1 at first, are kept with the weights of a network.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    time = np.arange(front.frame)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * time / front.frame)
    # An integer times an integer, modulo a turn, is exact; the cosine of a large angle is not.
    angles = 2.0 * np.pi * (np.outer(np.arange(front.bins // 2 + 1), time) % front.bins) / front.bins
    waves = np.concatenate([np.cos(angles), -np.sin(angles)]) * hann * (2.0 / hann.sum())

    class Layer(nn.Module):
        waves: torch.Tensor
        mel: torch.Tensor
        offset: torch.Tensor
        gain: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            # They follow from the front end, so no file of weights has to hold them.
            self.register_buffer("waves", torch.tensor(waves[:, None], dtype=torch.float32), persistent=False)
            self.register_buffer("mel", torch.tensor(mel_bands(front), dtype=torch.float32), persistent=False)
            self.register_buffer("offset", torch.zeros(front.bands, 1))
            self.register_buffer("gain", torch.ones(front.bands, 1))

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            spectrum = functional.conv1d(windows.transpose(1, 2), self.waves, stride=front.hop)
            real, imaginary = torch.chunk(spectrum, 2, dim=1)
            bands = torch.matmul(self.mel, real * real + imaginary * imaginary)
            return (torch.log(bands + front.floor) - self.offset) * self.gain

    return Layer()


def standardise_bands(network: nn.Sequential, windows: NDArray[np.float32]) -> None:
    """Give the front end of a `log_mel_network` the mean and deviation of each band in windows (N, T, 1)."""
    import torch

    layer: Any = network[0]
    with torch.no_grad():
        bands = torch.cat([layer(part) for part in torch.split(torch.from_numpy(windows), 32)])
        layer.offset.copy_(bands.mean(dim=(0, 2)).unsqueeze(1))
        layer.gain.copy_(1.0 / bands.std(dim=(0, 2)).clamp_min(1e-3).unsqueeze(1))


def log_mel_network(front: LogMel, widths: Sequence[int], flat: bool = True) -> nn.Sequential:
    """A network (N, T, 1) -> (N, D) of audio, D = 5 widths[-1]: the means over four quarters of time, and the maximum.

    `flat`: mel bands are the channels of convolutions over time (TC-ResNet, Choi et al. 2019). Else they are the
    height of a picture, and the last convolution goes over all of it, so that a high sound is not a low one.
    """
    import torch
    from torch import nn

    class AsImage(nn.Module):
        """(N, bands, frames) -> (N, 1, bands, frames)."""

        def forward(self, bands: torch.Tensor) -> torch.Tensor:
            return bands.unsqueeze(1)

    class QuartersAndMaximum(nn.Module):
        """(N, W, frames), or (N, W, 1, frames) -> (N, 5 W)."""

        def forward(self, found: torch.Tensor) -> torch.Tensor:
            found = found.flatten(2)
            edges = np.linspace(0, int(found.shape[2]), _QUARTERS + 1).round().astype(int).tolist()
            quarters = [found[:, :, start:stop].mean(dim=2) for start, stop in pairwise(edges)]
            return torch.cat([*quarters, found.amax(dim=2)], dim=1)

    layers: list[nn.Module] = [log_mel_layer(front)]
    if flat:
        for number, (inner, outer) in enumerate(pairwise((front.bands, *widths))):
            stride = 2 if number < 2 else 1
            layers += [nn.Conv1d(inner, outer, 5, stride, 2, bias=False), nn.BatchNorm1d(outer), nn.ReLU()]
        return nn.Sequential(*layers, QuartersAndMaximum())
    layers.append(AsImage())
    height = front.bands
    for inner, outer in pairwise((1, *widths[:-1])):
        height = -(-height // 2)
        layers += [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    last = nn.Conv2d(widths[-2], widths[-1], (height, 3), 1, (0, 1), bias=False)
    return nn.Sequential(*layers, last, nn.BatchNorm2d(widths[-1]), nn.ReLU(), QuartersAndMaximum())
