"""Networks of edgetl's own for windows of a time series; and the window that any extractor declares to a device."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.windows import WindowSpec
from numpy.typing import NDArray

from edgetl.backbones.audio import LogMel, log_mel_network, standardise_bands
from edgetl.backbones.cut import used_keys
from edgetl.backbones.module import from_module, network_example
from edgetl.backbones.request import Request
from edgetl.backbones.series import conv1d_network, triads_of
from edgetl.backbones.text import check_texts
from edgetl.backbones.weights import fit_weights, read_weights
from edgetl.errors import BackboneError, DatasetError

if TYPE_CHECKING:
    import torch

    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["NETWORKS", "build", "check_windows", "with_window"]

_log = logging.getLogger(__name__)

# name -> (front end, widths of its layers)
NETWORKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "conv1d-s": ("conv1d", (32, 48, 64, 64)),
    "conv1d-m": ("conv1d", (64, 96, 96, 96)),
    "logmel-s": ("logmel", (48, 48, 48)),
    "logmel-m": ("logmel", (96, 96, 48)),
    "logmel2d-s": ("logmel2d", (16, 32, 32, 32)),
}
_LEAST_STEPS, _LEAST_FRAMES = 8, 32
_LOOKED_AT = 512  # training windows that give mean and deviation of each channel


def build(request: Request) -> Extractor:
    """Extractor of "edgetl/<model>", with random weights (always the same) or those of a file; raises BackboneError."""
    import torch

    model = request.name.partition("/")[2]
    if model not in NETWORKS:
        near = difflib.get_close_matches(model, NETWORKS) or list(NETWORKS)
        raise BackboneError(f"edgetl has no network {model!r}; did you mean {', '.join(near)}?")
    _refuse_image_options(request)
    kind, widths = NETWORKS[model]
    window, columns, samples = _declared(request)
    preprocess = _preprocess(request.name, (window.length, columns), window)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if kind == "conv1d":
            network = _sensor(request, window, columns, widths, samples)
        else:
            network = _audio(request, window, columns, widths, samples, flat=kind == "logmel")
    network.eval()
    provenance: dict[str, Any] = {"source": "edgetl", "weights": "random", "turn_deg": request.turn or 0.0}
    if request.weights is not None:
        contents, provenance["sha256"] = read_weights(request.weights)
        needed = used_keys(network, network_example(preprocess), request.name)
        fit_weights(network, needed, contents, str(request.weights))
        provenance.update(weights="file", file=Path(request.weights).name)
    return from_module(network, preprocess, name=request.name, provenance=provenance)


def check_windows(extractor: Extractor, samples: Dataset | TargetDataset) -> None:
    """Raises DatasetError unless the windows of the samples, where they are such, are those that a device will cut;

    and unless both are of text, or neither is.
    """
    check_texts(extractor, samples)
    wanted, given = getattr(extractor.preprocess, "window", None), getattr(samples, "window", None)
    if given is None or given == wanted:
        return
    if wanted is None:
        raise DatasetError(
            f"{samples.name} holds windows, and {extractor.name} does not say how a device cuts them: give it"
            " data=dataset, or window="
        )
    told, asked = given.to_json(), wanted.to_json()
    differ = [f"{key} {told[key]!r}, not {asked[key]!r}" for key in asked if told[key] != asked[key]]
    raise DatasetError(
        f"the windows of {samples.name} are not those of {extractor.name}: {'; '.join(differ)}. Cut them again"
        " (edgetl.dataset(..., window=extractor.preprocess.window)), or open the network with data=dataset"
    )


def with_window(extractor: Extractor, window: WindowSpec) -> Extractor:
    """The extractor with that window declared; raises BackboneError when it takes something else."""
    preprocess = extractor.preprocess
    if not isinstance(preprocess, ArrayPreprocess):
        raise BackboneError(f"{extractor.name} takes images, not windows of a time series")
    if preprocess.window not in (None, window):
        raise BackboneError(f"{extractor.name} takes other windows: {preprocess.window}, not {window}")
    return replace(extractor, preprocess=_preprocess(extractor.name, preprocess.shape, window))


def _preprocess(name: str, shape: tuple[int, ...], window: WindowSpec) -> ArrayPreprocess:
    try:
        return ArrayPreprocess(shape, window)
    except ValueError as error:
        raise BackboneError(f"{name}: {error}; choose another length, rate or channels of the window") from error


def _refuse_image_options(request: Request) -> None:
    options = ("output", "mean", "scale", "size", "resize", "interpolation", "channels")
    if given := [option for option in options if getattr(request, option) is not None]:
        raise BackboneError(
            f"{request.name} takes windows, standardised by the training data: leave out {', '.join(given)}"
        )
    if request.weights == "DEFAULT":
        raise BackboneError(
            f"nobody pretrained {request.name}; leave weights out, and train it: edgetl.finetune(..., recipe='scratch')"
        )


def _declared(request: Request) -> tuple[WindowSpec, int, NDArray[np.float32] | None]:
    """The window, its C channels, and some windows of the training part."""
    window, data = request.window, request.data
    if data is not None and data.window is not None:
        if window is not None and window != data.window:
            raise BackboneError(f"the window asked for is not that of {data.name}: {window}, {data.window}")
        window = data.window
    if window is None:
        raise BackboneError(
            f"{request.name} must know what windows it takes: data=edgetl.dataset(..., window=WindowSpec(...))"
        )
    samples = None
    if data is not None:
        part = data.training
        rows = range(0, len(part), max(1, len(part) // _LOOKED_AT))
        samples = np.stack([np.asarray(part.reader.read(part.indices[row]), np.float32) for row in rows])
    columns = len(window.channels) or (samples.shape[2] if samples is not None and samples.ndim == 3 else 0)
    if not columns or (samples is not None and samples.shape[1:] != (window.length, columns)):
        got = "" if samples is None else f"; the data is {samples.shape[1:]}"
        raise BackboneError(f"{request.name} takes windows ({window.length}, {columns or 'channels'}){got}")
    return window, columns, samples


def _sensor(
    request: Request, window: WindowSpec, columns: int, widths: Sequence[int], samples: NDArray[np.float32] | None
) -> torch.nn.Module:
    if window.length < _LEAST_STEPS:
        raise BackboneError(f"{request.name} takes windows of {_LEAST_STEPS} steps at least; got {window.length}")
    turn, triads = request.turn or 0.0, triads_of(window.channels, window.units)
    if not 0.0 <= turn <= 180.0:
        raise BackboneError(f"turn is an angle of 0 to 180 degrees; got {turn:g}")
    if turn and not triads:
        raise BackboneError(
            f"turn is for sensors of three axes, such as the channels ax, ay, az; these are {list(window.channels)}"
        )
    if triads and request.turn is None and request.weights is None:
        _log.info("%s are axes of one sensor: turn=180 trains for any mounting", ", ".join(window.channels))
    mean, scale = np.zeros(columns), np.ones(columns)
    if samples is not None:
        rows = samples.reshape(-1, columns).astype(np.float64)
        deviation = rows.std(axis=0)
        for triad in triads:  # axes keep their proportions, or a turned window would be a bent one
            deviation[list(triad)] = np.sqrt((deviation[list(triad)] ** 2).mean())
        mean, scale = rows.mean(axis=0), 1.0 / np.where(deviation > 1e-9 * (1.0 + np.abs(rows).max()), deviation, 1.0)
    return conv1d_network(window.length, mean, scale, widths, triads if turn else (), turn)


def _audio(
    request: Request,
    window: WindowSpec,
    columns: int,
    widths: Sequence[int],
    samples: NDArray[np.float32] | None,
    *,
    flat: bool,
) -> torch.nn.Module:
    if columns != 1 or request.turn is not None:
        raise BackboneError(f"{request.name} takes one channel of audio, without turn; got {columns} channels")
    front = LogMel.of(window.rate_hz)
    if window.rate_hz < 4000 or front.frames(window.length) < _LEAST_FRAMES:
        raise BackboneError(
            f"{request.name} takes audio of 4 kHz or more in windows of {_LEAST_FRAMES} frames or more (25 ms every"
            f" 10 ms); got {window.length} steps at {window.rate_hz:g} Hz"
        )
    network = log_mel_network(front, widths, flat)
    if samples is not None:
        standardise_bands(network, samples)
    return network
