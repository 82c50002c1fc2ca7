"""How unlike anything known a sample is: the relative Mahalanobis distance, from the same statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.heads.slda import discriminant
from edgetl_runtime.statistics import Statistics, checked_features

__all__ = ["OutlierScore", "fit_outliers"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OutlierScore:
    """min over classes of (x - m_c) S^-1 (x - m_c), minus the same about the one mean and total covariance.

    The total covariance is S plus the spread of the means, so the difference of the two quadratic forms has
    rank below K: with `basis` (D, R), R < K, and the linear rule `weights` (K, D), `bias` (K) a sample costs
    O((K + R) D), not D^2. Everything is about `shift` (D).
    """

    shift: Array
    weights: Array
    bias: Array
    basis: Array
    offset: Array
    constant: float

    def score(self, features: ArrayLike) -> Array:
        """Scores (N) of features (N, D): larger is less like any class; NaN without classes."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift
        if len(self.weights) == 0:
            return np.full(len(rows), np.nan)
        nearest = -2.0 * (rows @ self.weights.T + self.bias).max(axis=1)
        along = rows @ self.basis
        result: Array = nearest + np.einsum("nr,nr->n", along, along) + 2.0 * (rows @ self.offset) + self.constant
        return result


def fit_outliers(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    head: Optional[LinearHead] = None,
    **options: Any,
) -> OutlierScore:
    """The score of Ren et al. 2021 on source statistics `prior` and learnt `statistics`, either of them empty.

    `options` are those of the `slda` head. A `head` of that kind, fitted on the same statistics with the same
    options, lends its factorisation: O(K^2 D) instead of O(D^3 / 3). Exact to merge and to forget.
    """
    lent = head.weights if head is not None and head.name == "slda" else None
    model = discriminant(statistics, prior, weights=lent, **options)
    means, weights = model.means, model.weights
    total = model.both.learnt_counts + model.both.prior_counts
    total = total / max(float(total.sum()), 1e-300)
    centre = total @ means
    # With Lambda = S^-1 and S_0 = S + B B^T: Lambda - S_0^-1 = U U^T, U = Lambda B chol(I + B^T Lambda B)^-T.
    half = np.sqrt(total)[:, None]
    spread, whitened = half * (means - centre), half * (weights - total @ weights)
    inner = np.eye(len(means)) + spread @ whitened.T
    values, vectors = np.linalg.eigh((inner + inner.T) / 2.0)
    basis = (whitened.T @ vectors) / np.sqrt(np.maximum(values, 1.0))
    # -(x - c) S_0^-1 (x - c) with S_0^-1 = Lambda - U U^T; the terms of x Lambda x cancel.
    along = basis.T @ centre
    pull = total @ weights
    offset = pull - basis @ along
    constant = -float(centre @ pull) + float(along @ along)
    return OutlierScore(model.both.shift, weights, model.bias, basis, offset, constant)


