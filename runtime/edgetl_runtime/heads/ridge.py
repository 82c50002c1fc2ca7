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
from edgetl_runtime.statistics import Moments, Statistics

__all__ = ["Solution", "effective_count", "fit", "fit_targets", "load", "pooled", "solve"]

Array = NDArray[np.float64]

_MOST_PENALTIES = 1000  # a bundle names them, and a device tries each
_LEAST_LEFT = 1e-5
# Residuals along fewer directions than that many alike are a matter of luck, and so would be their score.
_LEAST_DIRECTIONS = 20.0


@dataclass(frozen=True)
class Solution:
    """Weights (D, Q) about `mean` (D), with the penalty taken and its generalised cross-validation score.

    `freedom` is the trace of the hat matrix, the mean included; NaN with a given penalty unless asked for.
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
    generalised cross-validation error, all from one eigendecomposition; penalties so small that only a few
    directions of the samples are not interpolated, as where N is about D, are passed over. `weight` is how much a
    learnt sample counts beside one of the prior; None lets both sides count alike, up to 20 (a few labels drown
    otherwise).
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
    weights = np.ascontiguousarray(solution.weights.T)
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

    With `variance` the head also predicts how unsure it is, for D^2 more memory and cost a sample. It takes
    errors for independent: neighbouring frames of a drive share theirs, so it says too little there, as does
    "gcv" (`loo_ridge_targets` leaves them out together). Samples that `weight` counts several times are no
    further evidence, and are not taken for it. One penalty serves all targets, each scaled by its own variance
    while choosing.
    """
    both = pooled(statistics, prior, weight)
    if both.target_count == 0:
        raise StatisticsError("there are no targets in these statistics; add(features, targets=...) brings them")
    moments, targets = both.moments, both.targets
    squares = np.diagonal(targets.gram).copy()
    real = effective_count(statistics, prior)
    gram, total, count = moments.gram, moments.sum, moments.count
    mixed = prior is not None and prior.count > 0 and statistics.count > 0
    factor = (count - prior.count) / statistics.count if mixed and prior is not None else 1.0
    uneven = factor != 1.0
    solution = solve(
        gram,
        total,
        targets.cross,
        targets.sum,
        squares,
        count,
        penalty,
        penalties,
        inverse=variance or uneven,
        effective=real,
        freedom=not uneven,
    )
    if uneven:
        squared = pooled(statistics, prior, factor * factor).moments
        spread = _uneven_spread(solution, moments, squared, variance)
    else:
        inverse = np.zeros((0, 0)) if solution.inverse is None else solution.inverse
        spread = _Spread(max(count - solution.freedom, _LEAST_LEFT * count), solution.mean, inverse, count)
    weights = np.ascontiguousarray(solution.weights.T)
    return RegressionHead(
        "ridge",
        both.feature_space,
        weights=weights,
        bias=solution.target_mean - weights @ solution.mean,
        shift=both.shift,
        noise=solution.residuals / spread.left,
        centre=both.shift + spread.centre,
        inverse=np.ascontiguousarray(spread.inverse),
        count=spread.count,
    )


@dataclass(frozen=True)
class _Spread:
    """What residuals are divided by, and the form of the leverage: 1 / count + (x - centre) inverse (x - centre)."""

    left: float
    centre: Array
    inverse: Array
    count: float


def _uneven_spread(solution: Solution, moments: Moments, squared: Moments, variance: bool) -> _Spread:
    """Spread of a fit in which samples have weights w that are no repetitions; `squared` has w^2 in place of w.

    With errors of one variance s, that of a prediction is s (W2 / W^2 + 2 x A^-1 c / W + x A^-1 B A^-1 x), where
    A is the Gram matrix with its penalty, B the same of w^2, W and W2 the sums of both, c = sum w^2 x: a sandwich.
    """
    assert solution.inverse is not None
    mean, inverse, count = solution.mean, solution.inverse, moments.count
    gap = squared.sum - squared.count * mean
    about = squared.gram - np.outer(squared.sum, mean) - np.outer(mean, gap)
    left = max(count - squared.count / count - float((inverse * about).sum()), _LEAST_LEFT * count)
    if not variance:
        return _Spread(left, mean, np.zeros((0, 0)), count**2 / squared.count)
    about[np.diag_indices_from(about)] += solution.penalty
    solved = positive_cholesky(about).solve(gap[:, None])[:, 0]
    # The term that is linear in x moves the centre; what it takes from the constant is cT B^-1 c / W^2.
    offset = moments.gram @ solved - moments.sum * float(mean @ solved) + solution.penalty * solved
    constant = max(squared.count - float(gap @ solved), 1e-300) / count**2
    return _Spread(left, mean - offset / count, inverse @ about @ inverse, 1.0 / constant)


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
    freedom: bool = False,
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
        if not 0 < len(grid) <= _MOST_PENALTIES or not (grid > 0).all():
            raise ValueError(f"penalties must be 1 to {_MOST_PENALTIES} positive numbers; got {len(grid)}")
        scores = [_gcv(values, projected, squares, effective or count, float(one)) for one in grid]
        errors = np.array([score for score, _, _ in scores])
        best = int(np.argmin(errors)) if np.isfinite(errors).any() else int(np.argmax(grid))
        score, used, residuals = scores[best]
        chosen = float(grid[best])
        weights = vectors @ (projected / (values + chosen)[:, None])
        inverted = (vectors / (values + chosen)) @ vectors.T if inverse else None
        return Solution(weights, mean, target_mean, chosen, score, used, residuals, inverted)
    if not penalty > 0:
        raise ValueError(f"penalty must be positive; got {penalty}")
    centred[np.diag_indices_from(centred)] += penalty
    factor = positive_cholesky(centred)
    weights = factor.solve(right)
    residuals = squares - 2 * np.einsum("dq,dq->q", weights, right)
    residuals = residuals + np.einsum("dq,dq->q", weights, centred @ weights - penalty * weights)
    inverted = factor.solve(np.eye(len(centred))) if inverse else None
    used = float("nan")
    if freedom:
        # The trace of the inverse is the squared size of the inverse factor.
        used = 1.0 + len(centred) - penalty * float((factor.half_solve(np.eye(len(centred))) ** 2).sum())
    return Solution(
        weights, mean, target_mean, float(penalty), float("nan"), used, np.maximum(residuals, 0.0), inverted
    )


def _gcv(values: Array, projected: Array, squares: Array, count: float, penalty: float) -> Tuple[float, float, Array]:
    shrunk = values + penalty
    residuals = squares - ((projected**2) * ((values + 2.0 * penalty) / shrunk**2)[:, None]).sum(axis=0)
    residuals = np.maximum(residuals, 0.0)
    freedom = 1.0 + float((values / shrunk).sum())
    left = 1.0 - freedom / count
    # Closer to interpolation the residuals are rounding, and so would be the score.
    if left < _LEAST_LEFT or _directions(values, count, penalty) < min(_LEAST_DIRECTIONS, count / 4.0):
        return float("inf"), freedom, residuals
    relative = float((residuals / np.where(squares > 0, squares, 1.0)).sum())
    return relative / left**2, freedom, residuals


def _directions(values: Array, count: float, penalty: float) -> float:
    """How many directions alike the residuals are spread over: (tr R)^2 / tr R^2 of what is left, R = I - hat matrix.

    `values` are the eigenvalues (D) in ascending order. As tr R alone sinks, its few smallest eigenvalues decide,
    and the error along them is as often far too small as too large.
    """
    rank = min(len(values), max(0, round(count - 1.0)))
    shares = penalty / (values[len(values) - rank :] + penalty)
    free = max(0.0, count - 1.0 - len(values))
    total = float((shares**2).sum()) + free
    return (float(shares.sum()) + free) ** 2 / total if total > 0 else 0.0


load = load_linear
