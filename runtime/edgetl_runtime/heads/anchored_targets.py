"""A regressor between the factory's and the learnt one: as near to the learnt as the source can bear."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Optional, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.random_layer import RandomReLU
from edgetl_runtime.heads.regression import RegressionHead
from edgetl_runtime.heads.ridge_rp import ProjectedRegressor
from edgetl_runtime.heads.table import fit_regressor
from edgetl_runtime.heads.target_head import TargetHead, target_head
from edgetl_runtime.statistics import Statistics

__all__ = ["fit_anchored_targets"]

Array = NDArray[np.float64]

# What a share of the way may cost on the guard set, of the variance of the targets; beyond 0.01 the guard says no.
_COST = 0.0075
# The learnt samples weigh as much as the source once there are so many of them for each feature.
_PER_FEATURE, _MOST_WEIGHT = 8.0, 20.0


def fit_anchored_targets(
    factory: TargetHead,
    statistics: Statistics,
    prior: Statistics,
    guard_features: ArrayLike,
    guard_targets: ArrayLike,
    layer: Optional[RandomReLU] = None,
    **options: Any,
) -> TargetHead:
    """The regressor of source statistics `prior` and what was learnt, as far from the `factory` head as it may be.

    `factory + share (refit - factory)`, which is a regressor of the same kind and cost again. The share is the
    largest, up to 1, at which the guard set (N, D; targets (N, Q)), source samples that nobody was trained on, loses
    no more than 0.75 % of the variance of the targets; the loss is a parabola in the share, so this is its root.
    Whatever was taught, lies and crafted samples too, the guard set pays no more than that. In the refit a sample of
    the device counts like one of the source, or up to 20 times where the source has more than 8 samples for each
    feature and the device few; `weight` says another. The other options are those of the regressor named by the
    factory head; with a `layer` the statistics are of projected features. Exact in any order, to merge and to
    forget, as the refit is: nothing else enters but the factory head and the guard set. O(N (D + Q)) beyond the refit.

    Mixing an old and a refitted linear model: Wortsman et al. 2022 (WiSE-FT); the bound on the guard set is ours.
    """
    dim = prior.dim
    if options.get("weight") is None:
        weight = prior.count / (statistics.count + _PER_FEATURE * dim)
        options["weight"] = min(_MOST_WEIGHT, max(1.0, weight))
    if layer is not None:
        options["layer"] = layer
    learnt = factory.fitted_again(fit_regressor(factory.name, statistics, prior, **options))
    targets = np.asarray(guard_targets, dtype=np.float64)
    if not len(targets):
        return replace(learnt, share=1.0)
    share = _share(factory.decision(guard_features), learnt.decision(guard_features), targets, factory.spread)
    if share in (0.0, 1.0):
        return replace(learnt if share else factory, share=share)
    return replace(target_head(_between(factory, learnt, share), factory.spread), share=share)


def _share(old: Array, new: Array, targets: Array, spread: Array) -> float:
    """The largest share of the way from values `old` to `new` (N, Q) that costs the guard set no more than it may."""
    error, way = (old - targets) / spread, (new - old) / spread
    # The cost is a parabola in the share: linear * share + square * share^2, nothing at 0.
    linear, square = 2.0 * float(np.mean(error * way)), float(np.mean(way**2))
    if not math.isfinite(linear + square):
        return 0.0
    if linear + square <= _COST:
        return 1.0
    root = math.hypot(linear, 2.0 * math.sqrt(square * _COST))
    return min(1.0, 2.0 * _COST / (root + linear) if linear > 0.0 else (root - linear) / (2.0 * square))


def _between(factory: TargetHead, learnt: TargetHead, share: float) -> Union[RegressionHead, ProjectedRegressor]:
    first, refit = _parts(factory), _parts(learnt)
    weights = (1.0 - share) * first[0].weights + share * refit[0].weights
    # About the shift of the refit: its deviations and distances are kept, they know all the samples.
    moved = first[0].bias + first[0].weights @ (refit[0].shift - first[0].shift)
    inner = replace(
        refit[0],
        weights=weights,
        bias=(1.0 - share) * moved + share * refit[0].bias,
        noise=(1.0 - share) * first[0].noise + share * refit[0].noise,
    )
    if refit[1] is None or first[1] is None:
        return inner
    return ProjectedRegressor(refit[1], inner)


def _parts(head: TargetHead) -> Tuple[RegressionHead, Optional[RandomReLU]]:
    regressor = head.regressor
    if isinstance(regressor, ProjectedRegressor):
        return regressor.inner, regressor.layer
    if not isinstance(regressor, RegressionHead):
        raise StatisticsError(f"a {type(regressor).__name__} cannot be anchored")
    return regressor, None
