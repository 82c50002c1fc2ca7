"""The factory head of a bundle: statistics of the source's features, and the head that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import HEADS, fit_head, random_layer
from edgetl_runtime.heads.calibration import calibrated
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

from edgetl.extraction import ExtractedPart

__all__ = ["check_head", "make_head_member"]

# Options beside those of the heads themselves: of the random layer of `ridge_rp`, whose width follows from what a
# device may spend on it, and of the reservoir of the heads that learn from stored samples.
_LAYER = {"size_bytes": 8 * 2**20, "width": 0, "seed": 0}
_RESERVOIR = {"reservoir_bytes": 4 * 2**20}


def check_head(head: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a head that there is not, or an option that it does not have."""
    if head not in HEADS:
        raise ValueError(f"there is no head {head!r}; a bundle carries one of {sorted(HEADS)}")
    _all_options(head, options)


def make_head_member(
    head: str,
    options: Mapping[str, Any],
    feature_space: str,
    training: ExtractedPart,
    held_out: ExtractedPart,
) -> HeadMember:
    """Fit that head on the training part; the held-out part, which may be empty, only calibrates it.

    `options` are those of the head. `ridge_rp` also takes those of its random layer: `size_bytes`, 8 MiB by default,
    from which the width M follows (8 M^2 + 4 D M on the device; 4 M^2 in the bundle), or `width`, and `seed`.
    `softmax`, `mlp` and `knn` take `reservoir_bytes`, 4 MiB by default: up to half of it are features of source
    samples in float16, class-balanced, which the bundle then carries and a device fits such a head on; the other
    half is for what it learns. **A feature can tell much of the sample that it was computed from**, unlike the sums
    that the other heads need: choose these heads only where features of your data may leave the house.
    """
    fitting, further = _all_options(head, options)
    shift = training.features.mean(axis=0, dtype=np.float64)
    source = Statistics(training.features.shape[1], shift=shift, feature_space=feature_space)
    source.add(training.features, training.labels)
    empty = Statistics(source.dim, shift=shift, feature_space=feature_space)
    projected, samples = None, None
    if HEADS[head].projected:
        layer = random_layer(source, **further)
        rows = layer.apply(training.features)
        centre = rows.mean(axis=0, dtype=np.float64)
        projected = Statistics(layer.width, shift=centre, feature_space=feature_space)
        projected.add(rows, training.labels)
        nothing = Statistics(layer.width, shift=centre, feature_space=feature_space)
        factory = fit_head(head, nothing, prior=projected, layer=layer, **fitting)
    elif HEADS[head].exact:
        factory = fit_head(head, empty, prior=source, **fitting)
    else:
        samples = _drawn(training, further["reservoir_bytes"], shift)
        factory = fit_head(head, empty, prior=source, reservoir=samples, **fitting)
    if held_out.labels:
        factory = calibrated(factory, held_out.features, held_out.labels)
    return HeadMember(source, head, fitting, factory, projected, samples)


def _drawn(training: ExtractedPart, size_bytes: int, shift: np.ndarray) -> Reservoir:
    """A class-balanced draw of source features in half of a reservoir of that size, numbered from -1 down."""
    dim, k = training.features.shape[1], len(set(training.labels))
    if size_bytes < 4 * dim * k:
        raise ValueError(f"{k} classes of {dim} features need reservoir_bytes of {4 * dim * k} at least")
    generator = np.random.Generator(np.random.PCG64(0))
    half = Reservoir(dim, size_bytes // 2, shift=shift)
    half.add(training.features, training.labels, generator)
    # Offered again to one of the whole size, which begins with them: what a device learns finds room, and as much
    # chance to stay as any of these.
    whole = Reservoir(dim, size_bytes, shift=shift)
    whole.add(half.features, half.labels, generator, numbers=[-1 - row for row in range(len(half))])
    return whole


def _all_options(head: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every option of that head, so that a later runtime with other defaults decides no differently; and the rest."""
    fit = import_module(f"edgetl_runtime.heads.{HEADS[head].module}").fit
    defaults = {
        option: parameter.default
        for option, parameter in signature(fit).parameters.items()
        if option not in ("statistics", "prior", "layer", "reservoir")
    }
    further = _LAYER if HEADS[head].projected else {} if HEADS[head].exact else _RESERVOIR
    if unknown := set(given) - set(defaults) - set(further):
        raise ValueError(f"the head {head!r} has no option {sorted(unknown)}; it has {sorted({*defaults, *further})}")
    return (
        {option: given.get(option, default) for option, default in defaults.items()},
        {option: given.get(option, default) for option, default in further.items()},
    )
