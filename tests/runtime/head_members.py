"""Head members of every kind, made as the host makes them, for tests without the host."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import HEADS, fit_head, fit_regressor, random_layer, target_head
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

from tests.runtime import golden

SPACE = golden.bundle().manifest.variants[0].feature_space
# Only to be quick.
OPTIONS: Dict[str, Dict[str, Any]] = {
    "mlp": {"width": 8, "steps": 40},
    "softmax": {"tolerance": 1e-4},
    "knn": {"k": 3},
}
HEAD_NAMES = sorted(HEADS)
REPLAY = [name for name in HEAD_NAMES if not HEADS[name].exact]


def digits(dim: int = 64) -> Tuple[NDArray[np.float32], List[str]]:
    """Handwritten digits (200, 64) as features, with labels; `dim` less takes the first so many pixels."""
    return golden.frames().reshape(len(golden.frames()), -1)[:, :dim].astype(np.float32), golden.labels()


def member(
    name: str,
    features: NDArray[np.float32],
    labels: List[str],
    room: int = 200,
    options: Optional[Dict[str, Any]] = None,
) -> HeadMember:
    """A head of that name fitted on the features (N, D); a replay head gets them all and `room` places in all."""
    dim, chosen = features.shape[1], OPTIONS.get(name, {}) if options is None else options
    source = Statistics(dim, features.mean(axis=0), SPACE)
    source.add(features, labels)
    empty = Statistics(dim, source.shift, SPACE)
    if HEADS[name].projected:
        layer = random_layer(source, width=48)
        rows = layer.apply(features)
        projected = Statistics(layer.width, rows.mean(axis=0), SPACE)
        projected.add(rows, labels)
        nothing = Statistics(layer.width, projected.shift, SPACE)
        factory = fit_head(name, nothing, prior=projected, layer=layer, **chosen)
        return HeadMember(source, name, chosen, factory, projected=projected)
    if HEADS[name].exact:
        return HeadMember(source, name, chosen, fit_head(name, empty, prior=source, **chosen))
    samples = Reservoir(dim, room * 2 * dim, shift=source.shift)
    samples.add(features, labels, np.random.default_rng(0), numbers=[-1 - i for i in range(len(features))])
    return HeadMember(
        source, name, chosen, fit_head(name, empty, prior=source, reservoir=samples, **chosen), samples=samples
    )


def target_member(name: str, features: NDArray[np.float32], targets: NDArray[np.float64]) -> HeadMember:
    """A head of real numbers of that name, fitted on the features (N, D) and targets (N, Q)."""
    dim, options = features.shape[1], {"variance": True}
    source = Statistics(dim, features.mean(axis=0), SPACE)
    source.add(features, targets=targets)
    spread = targets.std(axis=0)
    empty = Statistics(dim, source.shift, SPACE)
    if not HEADS[name].projected:
        return HeadMember(source, name, options, target_head(fit_regressor(name, empty, source, **options), spread))
    layer = random_layer(source, width=48)
    rows = layer.apply(features)
    projected = Statistics(layer.width, rows.mean(axis=0), SPACE)
    projected.add(rows, targets=targets)
    nothing = Statistics(layer.width, projected.shift, SPACE)
    factory = target_head(fit_regressor(name, nothing, projected, layer=layer, **options), spread)
    return HeadMember(source, name, options, factory, projected=projected)
