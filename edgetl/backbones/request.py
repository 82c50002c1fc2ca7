"""What a caller of `extractor` asked for, and how it meets the defaults of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.preprocess import ImagePreprocess
from edgetl_runtime.windows import WindowSpec

from edgetl.errors import BackboneError

if TYPE_CHECKING:
    from edgetl.data import Dataset

__all__ = ["ImageDefaults", "Request", "image_declaration", "per_channel"]

STRETCH = "stretch"
_CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}


@dataclass(frozen=True)
class Request:
    """The options of `edgetl.backbones.extractor`, as given; None asks for the default of the weights."""

    name: str
    weights: str | Path | None = None
    output: str | None = None
    mean: float | Sequence[float] | None = None
    scale: float | Sequence[float] | None = None
    size: int | Sequence[int] | None = None
    resize: int | str | None = None
    interpolation: str | None = None
    channels: str | None = None
    window: WindowSpec | None = None
    data: Dataset | None = None
    turn: float | None = None


@dataclass(frozen=True)
class ImageDefaults:
    """How the weights were trained to see an image; `mean` and `scale` in pixel units, in RGB order (or grey).

    `resize` is the shorter side before the centre crop; None stretches the frame.
    """

    height: int
    width: int
    resize: int | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    channels: str = "RGB"


def image_declaration(
    request: Request, default: ImageDefaults
) -> tuple[ImagePreprocess, tuple[float, ...], tuple[float, ...]]:
    """Preprocessing, mean and scale (one figure a channel, in the network's order); raises BackboneError."""
    channels = request.channels or default.channels
    if channels not in _CHANNELS or _CHANNELS[channels] != _CHANNELS[default.channels]:
        same = [name for name, count in _CHANNELS.items() if count == _CHANNELS[default.channels]]
        raise BackboneError(
            f"{request.name} takes {_CHANNELS[default.channels]} channels, so channels must be one of {same}; "
            f"got {channels!r}. A grey frame is given to an RGB network as it is: the runtime repeats it"
        )
    height, width = _size(request, default)
    resize = default.resize
    if request.resize == STRETCH:
        resize = None
    elif isinstance(request.resize, int):
        resize = request.resize
    elif request.resize is not None:
        raise BackboneError(f"resize must be the shorter side in pixels, or 'stretch'; got {request.resize!r}")
    elif resize is not None and (height, width) != (default.height, default.width):
        # Another size keeps the share of the frame that the crop sees.
        resize = max(height, width, round(resize * min(height / default.height, width / default.width)))
    try:
        preprocess = ImagePreprocess(
            height=height,
            width=width,
            resize=resize,
            interpolation=request.interpolation or default.interpolation,
            channels=channels,
        )
    except ValueError as error:
        raise BackboneError(f"{request.name}: {error}") from error
    count = _CHANNELS[channels]
    order = -1 if (channels == "BGR") != (default.channels == "BGR") else 1
    mean = default.mean[::order] if request.mean is None else request.mean
    scale = default.scale[::order] if request.scale is None else request.scale
    return preprocess, per_channel("mean", mean, count), per_channel("scale", scale, count)


def per_channel(what: str, figures: float | Sequence[float], channels: int) -> tuple[float, ...]:
    """One finite figure a channel; raises BackboneError when there are neither one nor `channels` of them."""
    given = (float(figures),) if isinstance(figures, (int, float)) else tuple(float(x) for x in figures)
    if len(given) not in (1, channels) or not all(math.isfinite(x) for x in given):
        raise BackboneError(f"{what} must be one finite number or one for each of {channels} channels; got {given}")
    return given * channels if len(given) == 1 else given


def _size(request: Request, default: ImageDefaults) -> tuple[int, int]:
    if request.size is None:
        return default.height, default.width
    if isinstance(request.size, int):
        return request.size, request.size
    if len(request.size) != 2:
        raise BackboneError(f"size of an image must be one side or (height, width); got {tuple(request.size)}")
    return int(request.size[0]), int(request.size[1])
