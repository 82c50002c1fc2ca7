"""The factory head of a bundle: statistics of the source's features, and the head that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import HEADS, fit_head, fit_regressor, random_layer, target_head
from edgetl_runtime.heads.calibration import calibrated
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

from edgetl.building.class_vectors import ClassVectors, add_class_vectors
from edgetl.errors import DatasetError
from edgetl.extraction import ExtractedPart

__all__ = ["check_head", "check_target_head", "make_head_member", "make_target_member"]

# Options beside those of the heads themselves: of the random layer of `ridge_rp`, whose width follows from what a
# device may spend on it, and of the reservoir of the heads that learn from stored samples.
_LAYER = {"size_bytes": 8 * 2**20, "width": 0, "seed": 0}
_RESERVOIR = {"reservoir_bytes": 4 * 2**20}


def check_head(head: str, options: Mapping[str, Any], named: bool = False) -> None:
    """Raises ValueError for a head that there is not, an option that it does not have, or, with `named`, one that

    cannot start from class vectors.
    """
    if head not in HEADS:
        raise ValueError(f"there is no head {head!r}; a bundle carries one of {sorted(HEADS)}")
    able = sorted(row for row, kind in HEADS.items() if kind.exact and not kind.projected)
    if named and head not in able:
        raise ValueError(f"the head {head!r} cannot start from class vectors; these can: {able}")
    _all_options(head, options)


def check_target_head(head: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a head that gives no numbers, or an option that it does not have."""
    able = sorted(row for row, kind in HEADS.items() if kind.targets)
    if head not in able:
        raise ValueError(f"the head {head!r} gives classes; numbers are given by {able}")
    _target_options(head, options)


def make_target_member(
    head: str, options: Mapping[str, Any], feature_space: str, training: ExtractedPart, count: int
) -> HeadMember:
    """Fit a head of Q = `count` real numbers on the training part: `ridge`, or `ridge_rp` behind a random layer.

    `options` are those of the regressor, and of the layer of `ridge_rp` as for `make_head_member`. `variance`, on by
    default, lets the deviation of an error grow away from what was learnt, for D^2 more in memory and 4 D^2 bytes.
    Raises DatasetError where a number never changes.
    """
    fitting, further = _target_options(head, options)
    features, targets = training.features, training.targets(count)
    spread = targets.std(axis=0)
    if len(targets) < 2 or not (spread > 0).all():
        raise DatasetError("each number must take at least two values in the training part; there is nothing to learn")
    source = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64), feature_space)
    source.add(features, targets=targets)
    if not HEADS[head].projected:
        empty = Statistics(source.dim, source.shift, feature_space)
        return HeadMember(source, head, fitting, target_head(fit_regressor(head, empty, source, **fitting), spread))
    layer = random_layer(source, **further)
    rows = layer.apply(features)
    projected = Statistics(layer.width, rows.mean(axis=0), feature_space)
    projected.add(rows, targets=targets)
    nothing = Statistics(layer.width, projected.shift, feature_space)
    regressor = fit_regressor(head, nothing, projected, layer=layer, **fitting)
    return HeadMember(source, head, fitting, target_head(regressor, spread), projected=projected)


def make_head_member(
    head: str,
    options: Mapping[str, Any],
    feature_space: str,
    training: ExtractedPart,
    held_out: ExtractedPart,
    named: ClassVectors | None = None,
    labelled: bool = True,
) -> HeadMember:
    """Fit that head on the training part; the held-out part, which may be empty, only calibrates it.

    Class vectors are added to the sums, spread as the classes of the training part are about their means; where that
    is not `labelled`, they are all there is, spread as all of its features are.

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
    if labelled:
        source.add(training.features, training.labels)
    if named is not None:
        add_class_vectors(source, named, _spread(source, training.features, named))
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


def _spread(source: Statistics, features: np.ndarray, named: ClassVectors) -> float:
    """Variance of a feature along the lines between the class vectors: within classes, as far as the sums know, else
    of all the features. Off these lines, where most of the D directions are, features hardly vary.
    """
    between = named.vectors - named.vectors.mean(axis=0, dtype=np.float64)
    norm = float((between**2).sum())
    if source.count:
        covariance = source.within_scatter() / source.count
        along = float(((between @ covariance) * between).sum())
        plain = float(np.trace(covariance)) / source.dim
    else:
        centred = features - features.mean(axis=0, dtype=np.float64)
        along = float(((centred @ between.T) ** 2).sum()) / max(1, len(features))
        plain = float((centred**2).mean()) if len(features) else 0.0
    variance = along / norm if norm > 0 else plain
    return variance if variance > 0 else 1.0


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


def _target_options(head: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    fit = import_module("edgetl_runtime.heads.ridge").fit_targets
    further = _LAYER if HEADS[head].projected else {}
    return _divided(head, {**_defaults(fit), "variance": True}, further, given)


def _all_options(head: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every option of that head, so that a later runtime with other defaults decides no differently; and the rest."""
    fit = import_module(f"edgetl_runtime.heads.{HEADS[head].module}").fit
    further = _LAYER if HEADS[head].projected else {} if HEADS[head].exact else _RESERVOIR
    return _divided(head, _defaults(fit), further, given)


def _defaults(fit: Callable[..., Any]) -> dict[str, Any]:
    return {
        option: parameter.default
        for option, parameter in signature(fit).parameters.items()
        if option not in ("statistics", "prior", "layer", "reservoir")
    }


def _divided(
    head: str, defaults: Mapping[str, Any], further: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    if unknown := set(given) - set(defaults) - set(further):
        raise ValueError(f"the head {head!r} has no option {sorted(unknown)}; it has {sorted({*defaults, *further})}")
    return (
        {option: given.get(option, default) for option, default in defaults.items()},
        {option: given.get(option, default) for option, default in further.items()},
    )
