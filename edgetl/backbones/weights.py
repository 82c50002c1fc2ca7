"""Weights from a file into a network, with every key accounted for."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = ["Fit", "fit_weights", "read_weights"]

_log = logging.getLogger(__name__)
_SHOWN = 5


@dataclass(frozen=True)
class Fit:
    """How weights met a network: where in the file they were, and the keys that nothing needed."""

    inside: str
    prefix: str
    unused: tuple[str, ...]


def read_weights(path: str | Path) -> tuple[Mapping[str, Any], str]:
    """Contents of a .safetensors, .pth, .pt or .th file and its sha256; raises WeightsError. No pickled code runs."""
    import torch

    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; give 'DEFAULT' or the path of a .safetensors or .pth file")
    if path.suffix not in {".safetensors", ".pth", ".pt", ".th", ".bin"}:
        raise WeightsError(f"{path}: weights are a .safetensors, .pth, .pt, .th or .bin file")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            contents: Any = load_file(path)
        else:
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, header: each reader raises its own
        raise WeightsError(
            f"{path} does not load as weights: {str(error).splitlines()[0] if str(error) else repr(error)}. It must "
            "hold tensors only (torch.save(model.state_dict(), path)), or it is truncated: fetch it again"
        ) from error
    if not isinstance(contents, Mapping):
        raise WeightsError(f"{path} holds a {type(contents).__name__}; save model.state_dict() instead")
    return contents, digest.hexdigest()


def fit_weights(
    network: torch.nn.Module,
    needed: Iterable[str],
    contents: Mapping[str, Any],
    origin: str,
    rename: Callable[[str], str] = str,
) -> Fit:
    """Load into `network` the tensors it needs, as float32, in place; raises WeightsError and then changes nothing.

    A wrapper ({"state_dict": ...}) and a prefix on all keys ("module.") are seen through: of all readings of
    the file, the one that explains most of the `needed` keys is taken. Integer buffers are taken where present.
    `rename` turns a key of the file into today's.
    """
    import torch

    needed = sorted(needed)
    inside, prefix, tensors = _best_reading(contents, needed, rename)
    state = network.state_dict()
    missing = [key for key in needed if key not in tensors]
    if missing:
        some = ", ".join(sorted(tensors)[:_SHOWN]) or "no tensor at all"
        raise WeightsError(
            f"{origin} lacks {len(missing)} of {len(needed)} tensors: {_first(missing)}. It holds {some} ...; are "
            "these the weights of this very network?"
        )
    shapes = {key: (tuple(state[key].shape), tuple(tensors[key].shape)) for key in needed}
    wrong = [f"{key} {have} instead of {want}" for key, (want, have) in shapes.items() if want != have]
    if wrong:
        raise WeightsError(f"{origin}: {len(wrong)} of {len(needed)} tensors have another shape: {_first(wrong)}")
    broken = [key for key in needed if not torch.isfinite(tensors[key]).all()]
    if broken:
        raise WeightsError(f"{origin}: {len(broken)} tensors hold NaN or infinite values: {_first(broken)}")
    wanted = set(needed)
    taken = {
        key: value
        for key, value in tensors.items()
        if key in wanted
        or (key in state and not state[key].is_floating_point() and state[key].shape == value.shape)
    }
    with torch.no_grad():
        for key, value in taken.items():
            state[key].copy_(value)  # converts half precision to float32
    unused = tuple(sorted(set(tensors) - set(taken)))
    if unused:
        _log.info("%s: %d tensors are not part of the features: %s", origin, len(unused), _first(unused))
    return Fit(inside, prefix, unused)


def _best_reading(
    contents: Mapping[str, Any], needed: list[str], rename: Callable[[str], str]
) -> tuple[str, str, dict[str, torch.Tensor]]:
    """(wrapper key, prefix, tensors without it) that holds most of the needed keys; the first at a tie."""
    best: tuple[int, str, str, dict[str, Any]] = (-1, "", "", {})
    for inside, found_tensors in _tensor_maps(contents):
        tensors = {rename(key): value for key, value in found_tensors.items()}
        prefixes = {""}
        for key in tensors:
            parts = key.split(".")
            prefixes.update(".".join(parts[:depth]) + "." for depth in range(1, min(3, len(parts))))
        for prefix in sorted(prefixes):
            found = sum(prefix + key in tensors for key in needed)
            if found > best[0]:
                cut = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
                best = (found, inside, prefix, cut)
    return best[1], best[2], best[3]


def _tensor_maps(contents: Mapping[str, Any], inside: str = "", depth: int = 2) -> Iterator[tuple[str, dict[str, Any]]]:
    import torch

    tensors = {key: value for key, value in contents.items() if isinstance(value, torch.Tensor)}
    tensors = {key: value for key, value in tensors.items() if isinstance(key, str)}  # an optimizer numbers its own
    if tensors:
        yield inside, tensors
    for key, value in contents.items() if depth else ():
        if isinstance(value, Mapping):
            yield from _tensor_maps(value, f"{inside}.{key}".strip("."), depth - 1)


def _first(items: Iterable[str]) -> str:
    items = list(items)
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
