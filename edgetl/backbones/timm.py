"""timm's networks, by name, with the data configuration that their weights declare."""

from __future__ import annotations

import difflib
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backbones.cut import used_keys
from edgetl.backbones.module import from_module, network_example
from edgetl.backbones.request import ImageDefaults, Request, image_declaration
from edgetl.backbones.weights import fit_weights, read_weights
from edgetl.errors import BackboneError, WeightsError

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["build"]

_log = logging.getLogger(__name__)


def build(request: Request) -> Extractor:
    """Extractor of "timm/<model>", the network as timm builds it without a classifier; raises BackboneError."""
    import timm
    import torch

    model = request.name.partition("/")[2]
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models()) or timm.list_models()[:5]
        raise BackboneError(f"timm has no network {model!r}; did you mean {', '.join(near)}?")
    if request.output is not None:
        raise BackboneError("`output` names a tensor of an ONNX graph; a timm network is cut at its classifier")
    options = {"in_chans": 1} if request.channels == "L" else {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = _create(model, request, options)
    preprocess, mean, scale = image_declaration(request, _defaults(network, request.name, options))
    if request.size is not None and hasattr(network, "set_input_size"):
        network.set_input_size(img_size=(preprocess.height, preprocess.width))
    example = network_example(preprocess)
    provenance: dict[str, Any] = {"source": "timm", "weights": "random"}
    if request.weights == "DEFAULT":
        origin = network.pretrained_cfg.get("hf_hub_id") or network.pretrained_cfg.get("url")
        provenance.update(weights="DEFAULT", origin=str(origin))
    elif request.weights is not None:
        contents, provenance["sha256"] = read_weights(request.weights)
        needed = used_keys(network, example, request.name)
        fit = fit_weights(network, needed, contents, str(request.weights))
        provenance.update(weights="file", file=Path(request.weights).name)
        provenance.update(inside=fit.inside, prefix=fit.prefix, unused=list(fit.unused))
    return from_module(network, preprocess, mean, scale, name=request.name, provenance=provenance)


def _create(model: str, request: Request, options: dict[str, Any]) -> Any:
    import timm

    fetch = request.weights == "DEFAULT"
    try:
        return timm.create_model(model, pretrained=fetch, num_classes=0, **options).eval()
    except Exception as error:  # the hub, the file system and the network itself each raise their own
        if fetch:
            raise WeightsError(
                f"cannot fetch the weights of {request.name}: {error}. Without a network, fetch its model.safetensors "
                "elsewhere, copy it here and pass weights='path/to/it.safetensors'"
            ) from error
        raise BackboneError(f"timm cannot build {request.name}: {error}") from error


def _defaults(network: Any, name: str, options: dict[str, Any]) -> ImageDefaults:
    import timm.data.config

    config: dict[str, Any] = timm.data.config.resolve_data_config(options, model=network)  # type: ignore[no-untyped-call]
    channels, height, width = config["input_size"]
    channels = options.get("in_chans", channels)
    resize: int | None = math.floor(max(height, width) / config["crop_pct"])
    if config["crop_mode"] != "center":
        if config["crop_mode"] == "squash" and config["crop_pct"] == 1.0:
            resize = None
        else:
            _log.warning("%s: timm crops by %r; edgetl takes the centre crop", name, config["crop_mode"])
    interpolation = config["interpolation"]
    mean, std = (
        config[key] if len(config[key]) == channels else (sum(config[key]) / len(config[key]),) * channels
        for key in ("mean", "std")
    )
    return ImageDefaults(
        height=height,
        width=width,
        resize=resize,
        interpolation="bilinear" if interpolation == "random" else interpolation,
        mean=tuple(255.0 * figure for figure in mean),
        scale=tuple(1.0 / (255.0 * figure) for figure in std),
        channels="L" if channels == 1 else "RGB",
    )
