"""Ridge regression from statistics, for classes and for targets, with its penalty chosen in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.linear import LinearHead, load_linear
from edgetl_runtime.heads.operands import operands
from edgetl_runtime.heads.regression import RegressionHead
from edgetl_runtime.numerics import positive_cholesky
from edgetl_runtime.statistics import Statistics

__all__ = ["Solution", "effective_count", "fit", "fit_targets", "load", "pooled", "solve"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Weights (D, Q) about `mean` (D), with the penalty taken and its generalised cross-validation score.

    `inverse` (D, D) is (G + penalty I)^-1 of the centred Gram matrix, when it was asked for.
    """

    weights: Array
    mean: Array
    target_mean: Array
    penalty: float
    score: float
    freedom: float
    residuals: Array
    inverse: Optional[Array] = None


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    penalty: Union[str, float] = "gcv",
    penalties: Optional[Sequence[float]] = None,
    balanced: bool = False,
    weight: Optional[float] = None,
) -> LinearHead:
    """Ridge regression of features (N, D) on one-hot classes (K), also called analytic continual learning.

    `penalty` is a number, or "gcv": the one of `penalties` (a wide grid by default) with the least
    generalised cross-validation error, all from one eigendecomposition. `weight` is how much a learnt sample
    counts beside one of the prior; None lets both sides count alike, up to 20 (a few labels drown otherwise).
    `balanced` makes all classes count alike, assuming that they share their within-class covariance.

    Cost: O(10 D^3) with "gcv", O(D^3 / 3) without; O(K D) to decide; memory 2 D^2 while fitting. Exact to
    merge, to forget and in any order. Decision values are no log-probabilities: calibrate before thresholds.
    Zhuang et al. 2022 (ACIL); Golub, Heath and Wahba 1979 (GCV).
    """
    both = pooled(statistics, prior, weight)
    classes, counts, moments = both.classes, both.counts, both.moments
    if not classes:
        empty, shift = np.zeros((0, both.dim)), np.zeros(both.dim)
        return LinearHead("ridge", (), both.feature_space, empty, counts, shift, counts)
    sums, total = both.by_class.sums, moments.count
    if balanced:
        means = sums / counts[:, None]
        share = total / len(counts)
        gram = both.within_scatter() + share * (means.T @ means)
        sums, counts = share * means, np.full(len(counts), share)
        gram_sum = sums.sum(axis=0)
    else:
        gram, gram_sum = moments.gram, moments.sum
    real = effective_count(statistics, prior)
    solution = solve(gram, gram_sum, sums.T, counts, counts, total, penalty, penalties, effective=real)
    weights = solution.weights.T
    bias = solution.target_mean - weights @ solution.mean
    # One-hot residuals have a spread well below one: the softmax needs decision values of some size.
    temperature = max(1e-6, float(np.sqrt(solution.residuals.sum() / max(total * len(counts), 1.0))))
    return LinearHead("ridge", classes, both.feature_space, weights, bias, both.shift, both.counts, temperature)


def fit_targets(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    penalty: Union[str, float] = "gcv",
    penalties: Optional[Sequence[float]] = None,
    weight: Optional[float] = None,
    variance: bool = False,
) -> RegressionHead:
    """Ridge regression of features (N, D) on the targets (Q) of the statistics; options as for `fit`.

    With `variance` the head also predicts how unsure it is, for D^2 more memory and cost a sample. One
    penalty serves all targets, each scaled by its own variance while choosing.
    """
    both = pooled(statistics, prior, weight)
    if both.target_count == 0:
        raise StatisticsError("there are no targets in these statistics; add(features, targets=...) brings them")
    moments, targets = both.moments, both.targets
    squares = np.diagonal(targets.gram).copy()
    real = effective_count(statistics, prior)
    gram, total, count = moments.gram, moments.sum, moments.count
    solution = solve(gram, total, targets.cross, targets.sum, squares, count, penalty, penalties, variance, real)
    weights = solution.weights.T
    return RegressionHead(
        "ridge",
        both.feature_space,
        weights=weights,
        bias=solution.target_mean - weights @ solution.mean,
        shift=both.shift,
        noise=solution.residuals / max(moments.count - solution.freedom, 1.0),
        centre=both.shift + solution.mean,
        inverse=np.zeros((0, 0)) if solution.inverse is None else solution.inverse,
        count=moments.count,
    )


def pooled(statistics: Statistics, prior: Optional[Statistics], weight: Optional[float]) -> Statistics:
    """Both sides as one, the learnt samples counting `weight` times each."""
    if prior is None or prior.count == 0:
        return statistics
    learnt = operands(statistics, prior).learnt
    if learnt.count == 0:
        return prior
    if weight is None:
        weight = min(20.0, max(1.0, prior.count / learnt.count))
    return prior + learnt.scaled(weight)


def effective_count(statistics: Statistics, prior: Optional[Statistics]) -> float:
    """Samples on both sides, each counted once."""
    return statistics.count + (prior.count if prior is not None else 0.0)


def solve(
    gram: Array,
    total: Array,
    cross: Array,
    target_sum: Array,
    target_squares: Array,
    count: float,
    penalty: Union[str, float] = "gcv",
    penalties: Optional[Sequence[float]] = None,
    inverse: bool = False,
    effective: Optional[float] = None,
) -> Solution:
    """Centred ridge from sums: x x^T (D, D), x (D), x y^T (D, Q), y (Q), y^2 (Q) over `count` samples.

    `effective` is how many samples there really are, where some count several times: it is what the freedom
    is set against in generalised cross-validation.
    """
    mean, target_mean = total / count, target_sum / count
    centred = gram - np.outer(total, mean)
    right = cross - np.outer(total, target_mean)
    squares = np.maximum(target_squares - count * target_mean**2, 0.0)
    if isinstance(penalty, str):
        if penalty != "gcv":
            raise ValueError(f"penalty must be 'gcv' or a number; got {penalty!r}")
        values, vectors = np.linalg.eigh(centred)
        values = np.maximum(values, 0.0)
        projected = vectors.T @ right
        scale = float(values.sum()) / len(values) or 1.0
        grid = scale * np.logspace(-8, 4, 73) if penalties is None else np.asarray(penalties, dtype=np.float64)
        if len(grid) == 0 or not (grid > 0).all():
            raise ValueError("penalties must be positive")
        scores = [_gcv(values, projected, squares, effective or count, float(one)) for one in grid]
        best = int(np.argmin([score for score, _, _ in scores]))
        score, freedom, residuals = scores[best]
        chosen = float(grid[best])
        weights = vectors @ (projected / (values + chosen)[:, None])
        inverted = (vectors / (values + chosen)) @ vectors.T if inverse else None
        return Solution(weights, mean, target_mean, chosen, score, freedom, residuals, inverted)
    if not penalty > 0:
        raise ValueError(f"penalty must be positive; got {penalty}")
    centred[np.diag_indices_from(centred)] += penalty
    factor = positive_cholesky(centred)
    weights = factor.solve(right)
    residuals = squares - 2 * np.einsum("dq,dq->q", weights, right)
    residuals = residuals + np.einsum("dq,dq->q", weights, centred @ weights - penalty * weights)
    inverted = factor.solve(np.eye(len(centred))) if inverse else None
    freedom = 1.0 if inverted is None else 1.0 + len(centred) - penalty * float(np.trace(inverted))
    return Solution(
        weights, mean, target_mean, float(penalty), float("nan"), freedom, np.maximum(residuals, 0.0), inverted
    )


def _gcv(values: Array, projected: Array, squares: Array, count: float, penalty: float) -> Tuple[float, float, Array]:
    shrunk = values + penalty
    residuals = squares - ((projected**2) * ((values + 2.0 * penalty) / shrunk**2)[:, None]).sum(axis=0)
    residuals = np.maximum(residuals, 0.0)
    freedom = 1.0 + float((values / shrunk).sum())
    left = 1.0 - freedom / count
    if left <= 0:
        return float("inf"), freedom, residuals
    relative = float((residuals / np.where(squares > 0, squares, 1.0)).sum())
    return relative / left**2, freedom, residuals


load = load_linear
