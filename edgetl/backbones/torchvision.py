"""torchvision's classification networks, by name, with the transforms that their weights declare."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.backbones.cut import cut_classifier, used_keys
from edgetl.backbones.module import from_module, network_example
from edgetl.backbones.request import ImageDefaults, Request, image_declaration
from edgetl.backbones.weights import fit_weights, read_weights
from edgetl.errors import BackboneError, WeightsError

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["build"]

# DenseNet files from before torchvision 0.3 write norm1 as norm.1; torchvision renames so while loading.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def build(request: Request) -> Extractor:
    """Extractor of "torchvision/<model>"; raises BackboneError or WeightsError."""
    import torch
    from torchvision import models

    model = request.name.partition("/")[2]
    known = models.list_models(module=models)
    if model not in known:
        near = difflib.get_close_matches(model, known) or known[:5]
        raise BackboneError(f"torchvision has no classification network {model!r}; did you mean {', '.join(near)}?")
    if request.output is not None:
        raise BackboneError("`output` names a tensor of an ONNX graph; a torchvision network is cut at its classifier")
    entries = models.get_model_weights(model)
    named = request.weights in entries.__members__ or request.weights == "DEFAULT"
    entry: Any = entries[request.weights] if named else entries.DEFAULT
    preprocess, mean, scale = image_declaration(request, _defaults(entry.transforms()))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.default_generator.manual_seed(0)
        warnings.simplefilter("ignore", FutureWarning)  # of how Inception will one day draw its random weights
        network = models.get_model(model, weights=None).eval()
    if hasattr(network, "transform_input"):
        # Inception and GoogLeNet were trained on another normalisation and convert to it themselves;
        # torchvision switches that on with its weights, and so must weights of the same origin in a file.
        network.transform_input = request.weights is not None
    example = network_example(preprocess)
    cut = cut_classifier(network, example, request.name)
    provenance: dict[str, Any] = {"source": "torchvision", "classifier": cut.classifier, "weights": "random"}
    if request.weights is not None:
        if named:
            contents: Mapping[str, Any] = _download(entry, request.name)
            origin = entry.url
            provenance.update(weights=str(entry), url=entry.url)
        else:
            contents, provenance["sha256"] = read_weights(request.weights)
            origin = str(request.weights)
            provenance.update(weights="file", file=Path(request.weights).name)
        needed = used_keys(network, example, request.name)
        fit = fit_weights(network, needed, contents, origin, lambda key: _OLD_DENSENET.sub(r"\1\2.", key))
        provenance.update(inside=fit.inside, prefix=fit.prefix, unused=list(fit.unused))
    return from_module(network, preprocess, mean, scale, name=request.name, provenance=provenance)


def _defaults(transforms: Any) -> ImageDefaults:
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    return ImageDefaults(
        height=crop,
        width=crop,
        resize=resize,
        interpolation=transforms.interpolation.value,
        mean=tuple(255.0 * figure for figure in transforms.mean),
        scale=tuple(1.0 / (255.0 * figure) for figure in transforms.std),
    )


def _download(entry: Any, name: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
        raise WeightsError(
            f"cannot fetch the weights of {name} from {entry.url}: {error}. Without a network, fetch that file "
            "elsewhere, copy it here and pass weights='path/to/it.pth'"
        ) from error
    return state
