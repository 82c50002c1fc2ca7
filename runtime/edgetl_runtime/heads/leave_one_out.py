"""Exact leave-one-out: what each head would have said of a sample that it had not seen, without refitting."""

from __future__ import annotations

from typing import Optional, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads import ridge
from edgetl_runtime.heads.operands import Operands, operands
from edgetl_runtime.heads.slda import covariance_parts, posterior_means
from edgetl_runtime.numerics import positive_cholesky
from edgetl_runtime.statistics import Statistics, checked_features

__all__ = ["loo_ncm", "loo_ridge", "loo_ridge_targets", "loo_slda"]

Array = NDArray[np.float64]


def loo_ncm(
    statistics: Statistics,
    features: ArrayLike,
    codes: NDArray[np.int64],
    prior: Optional[Statistics] = None,
    n0: float = 5.0,
) -> Array:
    """Decision values (N, K) of Euclidean `ncm` for learnt samples (N, D) of classes `codes` (N), each left out.

    Only the mean of its own class changes. Every sample must be in the statistics with weight 1. A class of
    which nothing would be left scores minus infinity.
    """
    both = operands(statistics, prior)
    rows = np.asarray(checked_features(features, statistics.dim), dtype=np.float64) - both.shift
    means, total = posterior_means(both, n0, float("inf"))
    result: Array = rows @ means.T - 0.5 * np.einsum("kd,kd->k", means, means)
    own, weight = means[codes], total[codes]
    left = weight - 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(left[:, None] > 1e-9, (weight[:, None] * own - rows) / left[:, None], 0.0)
    value = np.einsum("nd,nd->n", rows, mean) - 0.5 * np.einsum("nd,nd->n", mean, mean)
    result[np.arange(len(rows)), codes] = np.where(left > 1e-9, value, -np.inf)
    return result


def loo_slda(
    statistics: Statistics,
    features: ArrayLike,
    codes: NDArray[np.int64],
    prior: Optional[Statistics] = None,
    n0: float = 5.0,
    common: float = 5.0,
    shrinkage: Union[str, float] = "oas",
    trust: Optional[float] = None,
) -> Array:
    """Decision values (N, K) of `slda` for learnt samples (N, D) of classes `codes` (N), each left out.

    Means are refitted without the sample; the covariance loses its share by a rank-1 downdate in the
    eigenbasis, in O(K D) a sample after O(10 D^3). Exact without a prior, with the intensity of shrinkage kept.
    With a prior the shift of all classes hangs on each sample a little, and its trace in the covariance of
    the *other* samples is kept. Samples as for `loo_ncm`.
    """
    both = operands(statistics, prior)
    rows = np.asarray(checked_features(features, statistics.dim), dtype=np.float64) - both.shift
    means, _ = posterior_means(both, n0, common)
    matrix, count, amount = covariance_parts(both, means, shrinkage, trust)
    values, vectors = np.linalg.eigh(matrix)
    dim = len(values)
    result = np.empty((len(rows), len(both.classes)))
    turned_means, turned = means @ vectors, rows @ vectors
    for position, (row, code) in enumerate(zip(turned, codes.tolist())):
        left = both.learnt_counts[code] - 1.0
        fresh = _means_without(both, means, turned_means, rows[position], code, vectors, n0, common)
        # Taking x from a class of n takes n / (n - 1) g g^T from its scatter, g its gap to the class mean.
        gap = row - turned_means[code]
        grown = 1.0
        if prior is None or not prior.count > 0:
            grown = (left + 1.0) / left if left > 1e-9 else 0.0
        gap = gap * np.sqrt(grown)
        # What is left of the scatter: all of it less g g^T; its mean variance changes with it.
        diagonal = values - amount * float(gap @ gap) / dim
        gap = gap * np.sqrt(1.0 - amount)
        diagonal = np.maximum(diagonal, 1e-12 * float(values[-1]))
        weights = fresh / diagonal
        pulled = gap / diagonal
        rest = 1.0 - float(gap @ pulled)
        weights = weights + np.outer(fresh @ pulled, pulled) / max(rest, 1e-9)
        scale = max(count - 1.0, 1.0)
        decision = scale * (weights @ row - 0.5 * np.einsum("kd,kd->k", fresh, weights))
        if left <= 1e-9 and both.prior_counts[code] == 0:
            decision[code] = -np.inf
        result[position] = decision
    return result


def _means_without(
    both: Operands,
    means: Array,
    turned_means: Array,
    row: Array,
    code: int,
    vectors: Array,
    n0: float,
    common: float,
) -> Array:
    """Posterior means (K, D) in the eigenbasis after one row (D) of a class has left."""
    counts, learnt = both.learnt_counts.copy(), both.learnt_means.copy()
    counts[code] -= 1.0
    gone = counts[code] <= 1e-9
    counts[code] = 0.0 if gone else counts[code]
    learnt[code] = 0.0 if gone else (learnt[code] * (counts[code] + 1.0) - row) / counts[code]
    if gone and both.prior_counts[code] == 0:
        # Nothing is known of this class any more; its score is discarded.
        counts[code], learnt[code] = 1.0, row
    moved = Operands(
        both.classes,
        both.feature_space,
        both.shift,
        both.learnt,
        counts,
        learnt,
        both.prior,
        both.prior_counts,
        both.prior_means,
    )
    fresh, _ = posterior_means(moved, n0, common)
    changed = np.abs(fresh - means).max(axis=1) > 0
    result: Array = turned_means.copy()
    result[changed] = fresh[changed] @ vectors
    return result


def loo_ridge(
    statistics: Statistics,
    features: ArrayLike,
    codes: NDArray[np.int64],
    prior: Optional[Statistics] = None,
    penalty: Union[str, float] = "gcv",
    weight: Optional[float] = None,
) -> Array:
    """Decision values (N, K) of `ridge` for learnt samples (N, D) of classes `codes` (N), each left out.

    Exact by leverages, y - r / (1 - h), with the penalty and the weight of the samples kept.
    """
    both = ridge.pooled(statistics, prior, weight)
    truth = np.zeros((len(codes), len(both.classes)))
    truth[np.arange(len(codes)), codes] = 1.0
    moments, counts = both.moments, both.counts
    sums = both.by_class.sums.T
    real = ridge.effective_count(statistics, prior)
    solution = ridge.solve(moments.gram, moments.sum, sums, counts, counts, moments.count, penalty, effective=real)
    return _left_out(both, statistics, prior, solution, features, truth)


def loo_ridge_targets(
    statistics: Statistics,
    features: ArrayLike,
    targets: ArrayLike,
    prior: Optional[Statistics] = None,
    penalty: Union[str, float] = "gcv",
    weight: Optional[float] = None,
    groups: Optional[ArrayLike] = None,
) -> Array:
    """Predicted targets (N, Q) of the `ridge` regressor for learnt samples (N, D), each left out; exact.

    With `groups` (N) all samples of one group are left out together, also exactly, at O(n^3) for n of them:
    neighbouring frames of a drive are near copies, so that leaving out one alone promises too much.
    """
    both = ridge.pooled(statistics, prior, weight)
    moments, sums = both.moments, both.targets
    truth = np.asarray(targets, dtype=np.float64).reshape(-1, len(sums.sum))
    squares = np.diagonal(sums.gram).copy()
    real = ridge.effective_count(statistics, prior)
    gram, count = moments.gram, moments.count
    solution = ridge.solve(gram, moments.sum, sums.cross, sums.sum, squares, count, penalty, effective=real)
    return _left_out(both, statistics, prior, solution, features, truth, groups)


def _left_out(
    both: Statistics,
    statistics: Statistics,
    prior: Optional[Statistics],
    solution: ridge.Solution,
    features: ArrayLike,
    truth: Array,
    groups: Optional[ArrayLike] = None,
) -> Array:
    rows = np.asarray(checked_features(features, both.dim), dtype=np.float64) - both.shift - solution.mean
    moments = both.moments
    centred = moments.gram - np.outer(moments.sum, moments.sum) / moments.count
    centred[np.diag_indices_from(centred)] += solution.penalty
    whitened = positive_cholesky(centred).half_solve(rows.T)
    share = 1.0
    if prior is not None and prior.count > 0 and statistics.count > 0:
        share = (moments.count - prior.count) / statistics.count
    residuals = truth - rows @ solution.weights - solution.target_mean
    if groups is None:
        leverage = share * (1.0 / moments.count + np.einsum("dn,dn->n", whitened, whitened))
        result: Array = truth - residuals / np.maximum(1.0 - leverage, 1e-12)[:, None]
        return result
    names = np.asarray(groups)
    if names.shape != (len(rows),):
        raise ValueError(f"groups must have one name for each of {len(rows)} samples; got shape {names.shape}")
    result = truth.copy()
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        if share * len(members) > (1.0 - 1e-9) * moments.count:
            raise ValueError(f"all samples are in the group {name!r}: without it nothing would be left")
        inside = whitened[:, members]
        hat = share * (1.0 / moments.count + inside.T @ inside)
        result[members] -= positive_cholesky(np.eye(len(members)) - hat).solve(residuals[members])
    return result
