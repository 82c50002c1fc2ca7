"""Backbones: a table of source -> (module, third-party import, how to get it). Adding one is a row and a file."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from edgetl.backbones.module import from_module
from edgetl.backbones.request import Request
from edgetl.backbones.windows import with_window
from edgetl.errors import BackboneError, MissingPackageError

if TYPE_CHECKING:
    from edgetl_runtime.windows import WindowSpec

    from edgetl.data import Dataset
    from edgetl.features import Extractor

__all__ = ["SOURCES", "extractor", "from_module"]


class _Source(Protocol):
    def build(self, request: Request) -> Extractor: ...


# What stands before "/" or ":" in a name -> (module with `build`, third-party import, how to get it)
SOURCES: dict[str, tuple[str, str, str]] = {
    "edgetl": ("edgetl.backbones.windows", "torch", 'pip install "edgetl"'),
    "onnx": ("edgetl.backbones.onnx", "onnx", 'pip install "edgetl"'),
    "text": ("edgetl.backbones.text", "tokenizers", 'pip install "edgetl[text]"'),
    "timm": ("edgetl.backbones.timm", "timm", 'pip install "edgetl[timm]"'),
    "torchvision": ("edgetl.backbones.torchvision", "torchvision", 'pip install "edgetl"'),
}


def extractor(
    name: str,
    weights: str | Path | None = None,
    *,
    output: str | None = None,
    mean: float | Sequence[float] | None = None,
    scale: float | Sequence[float] | None = None,
    size: int | Sequence[int] | None = None,
    resize: int | str | None = None,
    interpolation: str | None = None,
    channels: str | None = None,
    window: WindowSpec | None = None,
    data: Dataset | None = None,
    turn: float | None = None,
) -> Extractor:
    """A network, cut at its classifier: one sample, an image (H, W, C), a window (T, C) or a text, -> D features.

    `name` is "torchvision/<model>", "timm/<model>", "onnx:<path>", or for windows of a time series one of
    "edgetl/conv1d-s", "edgetl/conv1d-m" (any sensor), "edgetl/logmel-s", "edgetl/logmel-m" and "edgetl/logmel2d-s"
    (audio), which nobody pretrained: `edgetl.finetune(..., recipe="scratch")` trains them. `weights` is None for
    random ones (always the same), "DEFAULT" for the download of torchvision or timm, or the path of a .pth, .pt, .th or
    .safetensors file. `output` names the feature tensor of an ONNX graph.

    "text:<folder>" is a sentence encoder with its tokenizer (`tokenizer.json` beside `model.onnx`, or beside
    `model.safetensors` and `config.json`), and `size` is how many tokens of a text it takes (64): see
    `edgetl.backbones.text`.

    The rest overrides what the weights declare. `mean` and `scale` are in pixel units, one figure or one a
    channel in the order of the network: input = (pixel - mean) * scale. `size` is a side or (height, width)
    (for an ONNX that takes no image: the shape of one sample); `resize` the shorter side before the centre
    crop, or "stretch"; `channels` "RGB", "BGR" or "L", or "array" for an ONNX whose input only looks like an
    image.

    `window` says what windows the network takes; `data`, a dataset of windows, says the same, and gives the networks
    of edgetl what they standardise channels by: its training part. `turn`, in degrees, is for sensors of three axes:
    in training every window is turned about a random axis by up to that (180: any mounting), which costs nothing
    later, and takes from the network what only the mounting tells. Raises BackboneError, WeightsError (a
    BackboneError) or MissingPackageError.
    """
    source = name.partition(":")[0] if name.startswith(("onnx:", "text:")) else name.partition("/")[0]
    if source not in SOURCES or len(name) <= len(source) + 1:
        known = ["edgetl/<model>", "onnx:<path>", "text:<path>", "timm/<model>", "torchvision/<model>"]
        raise BackboneError(f"no backbone {name!r}; a name is one of {', '.join(known)}")
    module, package, get = SOURCES[source]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"backbone {name!r} needs the package {package}: {get}") from error
    builder = cast(_Source, importlib.import_module(module))
    built = builder.build(
        Request(
            name=name,
            weights=weights,
            output=output,
            mean=mean,
            scale=scale,
            size=size,
            resize=resize,
            interpolation=interpolation,
            channels=channels,
            window=window,
            data=data,
            turn=turn,
        )
    )
    asked = window or (data.window if data is not None else None)
    return built if asked is None or source == "edgetl" else with_window(built, asked)
