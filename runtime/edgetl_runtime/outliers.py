"""How unlike anything known a sample is: relative Mahalanobis distance, energy, or the nearest stored sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.heads.slda import discriminant
from edgetl_runtime.numerics import log_softmax
from edgetl_runtime.statistics import Statistics, checked_features

__all__ = ["EnergyScore", "NeighbourScore", "OutlierScore", "Outliers", "fit_outliers", "outlier_threshold"]

Array = NDArray[np.float64]


class Outliers(Protocol):
    """Any of the scores."""

    def score(self, features: ArrayLike) -> Array:
        """Scores (N) of features (N, D): larger is less like anything known."""
        ...


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




@dataclass(frozen=True)
class EnergyScore:
    """-T log sum exp(decision / T): how little all classes together say of a sample. Liu et al. 2020.

    For heads trained to discriminate, as softmax: a discriminant's decision values leave out what is common to
    all classes, so it may call a new class well known. O(N K) beside the decision.
    """

    head: Head

    def score(self, features: ArrayLike) -> Array:
        """Scores (N) of features (N, D): larger is less like any class; NaN without classes."""
        temperature = float(self.head.metadata().get("temperature", 1.0))
        scaled = self.head.decision(features) / temperature
        if scaled.shape[1] == 0:
            return np.full(len(scaled), np.nan)
        # log sum exp = z - log softmax(z), of any one column.
        result: Array = -temperature * (scaled[:, 0] - log_softmax(scaled)[:, 0])
        return result


@dataclass(frozen=True)
class NeighbourScore:
    """1 - cosine to the k-th nearest of M stored directions (M, D) about `shift` (D). Sun et al. 2022 (KNN).

    Knows classes of any shape, but only as well as it stores them: O(N M D), memory 8 M D bytes.
    """

    shift: Array
    directions: Array
    k: int = 1

    @classmethod
    def of(cls, features: ArrayLike, shift: ArrayLike, k: int = 1) -> NeighbourScore:
        """From stored features (M, D), as those of a Reservoir."""
        centre = np.asarray(shift, dtype=np.float64)
        return cls(centre, _directions(features, centre), k)

    def score(self, features: ArrayLike) -> Array:
        """Scores (N) of features (N, D), 0 to 2: larger is farther from all that is stored; NaN with nothing stored."""
        rows = _directions(features, self.shift)
        k = min(self.k, len(self.directions))
        if k < 1:
            return np.full(len(rows), np.nan)
        cosines = rows @ self.directions.T
        result: Array = 1.0 - np.partition(cosines, -k, axis=1)[:, -k]
        return result


def outlier_threshold(scores: ArrayLike, share: float = 0.05) -> float:
    """The score that `share` of known samples exceed, from scores (M) of held-out ones as of the guard set.

    Conformal: the chance of a known sample beyond it is at most `share`; infinite with too few to promise that.
    """
    known = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(known).all():
        raise ValueError("the scores of known samples hold NaN or infinite values; fit the score on classes first")
    # The smallest rank r with (M + 1 - r) / (M + 1) <= share.
    rank = int(np.ceil((len(known) + 1) * (1.0 - share) - 1e-9))
    return float("inf") if rank > len(known) else float(known[max(rank, 1) - 1])


def _directions(features: ArrayLike, shift: Array) -> Array:
    rows = np.asarray(checked_features(features, len(shift)), dtype=np.float64) - shift
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    result: Array = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    return result
