"""How well features of a frozen network tell the classes apart, or give the numbers: before any training.

Larger is better; every score is of one data set and compares backbones on it, nothing else.
"""

from __future__ import annotations

import numpy as np
from edgetl_runtime.heads.leave_one_out import loo_ridge, loo_ridge_targets
from edgetl_runtime.numerics import positive_cholesky, shrinkage_oas
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

from edgetl.tuning.objective import score

__all__ = ["h_score", "leave_one_out", "log_evidence"]

Array = NDArray[np.float64]

_STEPS = 100


def leave_one_out(features: NDArray[np.float32], truth: NDArray[np.int64] | Array) -> float:
    """Share right (0..1) of a ridge head on features (N, D) of classes `truth` (N), each sample left out in turn.

    Exact, by leverages, in O(N D^2 + D^3). Of numbers (N, Q): R2, the mean over Q.
    """
    statistics = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64))
    if truth.ndim == 2:
        statistics.add(features, targets=truth)
        return score(truth, loo_ridge_targets(statistics, features, truth))
    classes, codes = np.unique(truth, return_inverse=True)
    statistics.add(features, classes[codes])
    return float((loo_ridge(statistics, features, codes).argmax(axis=1) == codes).mean())


def h_score(features: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """tr(Cov(f)^-1 Cov(E[f|y])) of features (N, D) of classes `truth` (N) (Bao et al. 2019), at most K - 1.

    The covariance of all features is shrunk by OAS and that of the class means by the same share, without which the
    score rises with D when there are few samples (Ibrahim et al. 2022).
    """
    rows = features.astype(np.float64)
    rows -= rows.mean(axis=0)
    _, codes, counts = np.unique(truth, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, codes, rows)
    means /= counts[:, None]
    covariance = rows.T @ rows / len(rows)
    shrunk = shrinkage_oas(covariance, len(rows))
    level = float(np.trace(covariance)) / len(covariance)
    if not level > 0:
        return 0.0  # features that never change tell nothing
    covariance *= 1.0 - shrunk
    covariance[np.diag_indices_from(covariance)] += shrunk * level
    weighted = means * np.sqrt(counts / len(rows))[:, None]
    inside = positive_cholesky(covariance).half_solve(weighted.T)
    return float((1.0 - shrunk) * np.einsum("dk,dk->", inside, inside))


def log_evidence(features: NDArray[np.float32], truth: NDArray[np.int64] | Array) -> float:
    """LogME: the mean log evidence a sample of Bayesian linear regression on features (N, D) (You et al. 2021).

    One regression a class of `truth` (N), on its 0 or 1, or one a number (N, Q); the precisions of weights and noise
    are those of the greatest evidence, by the fixed point of the paper. O(N D min(N, D)).
    """
    rows = features.astype(np.float64)
    n, dim = rows.shape
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    squares = singular**2
    wanted = (truth[:, None] == np.unique(truth)).astype(np.float64) if truth.ndim == 1 else truth.astype(np.float64)
    found = [_evidence(left.T @ y, float(y @ y), squares, n, dim) for y in wanted.T]
    return float(np.mean(found) / n)


def _evidence(turned: Array, total: float, squares: Array, n: int, dim: int) -> float:
    """Log evidence at its maximum: `turned` (R) is U^T y, `total` |y|^2, `squares` (R) the squared singular values."""
    outside = max(total - float(turned @ turned), 0.0)
    ratio = 1.0  # of the precision of the weights to that of the noise
    weights = noise = 1.0
    for _ in range(_STEPS):
        directions = float((squares / (squares + ratio)).sum())
        length = float((squares * turned**2 / (squares + ratio) ** 2).sum())
        rest = float((turned**2 * (ratio / (squares + ratio)) ** 2).sum()) + outside
        weights, noise = directions / max(length, 1e-12), (n - directions) / max(rest, 1e-12)
        before, ratio = ratio, max(weights / max(noise, 1e-12), 1e-12)
        if abs(ratio - before) <= 1e-5 * before:
            break
    length = float((squares * turned**2 / (squares + ratio) ** 2).sum())
    rest = float((turned**2 * (ratio / (squares + ratio)) ** 2).sum()) + outside
    determinant = float(np.log(weights + noise * squares).sum()) + (dim - len(squares)) * np.log(weights)
    fit = n * np.log(noise / (2 * np.pi)) - noise * rest
    return 0.5 * float(fit + dim * np.log(weights) - weights * length - determinant)
