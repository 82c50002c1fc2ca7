"""Linear discriminant analysis from statistics: the default few-shot head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.heads.linear import LinearHead, load_linear
from edgetl_runtime.heads.operands import Operands, operands
from edgetl_runtime.numerics import (
    positive_cholesky,
    shrinkage_kubokawa,
    shrinkage_ledoit_wolf,
    shrinkage_oas,
)
from edgetl_runtime.statistics import Statistics

__all__ = ["Discriminant", "discriminant", "fit", "load"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Discriminant:
    """Means m (K, D) about the shift, S^-1 m (K, D), the bias -m S^-1 m / 2 (K), and the weight behind each mean."""

    both: Operands
    means: Array
    weights: Array
    bias: Array
    total: Array


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    n0: float = 5.0,
    shrinkage: Union[str, float] = "oas",
    priors: Optional[str] = None,
) -> LinearHead:
    """Shared-covariance discriminant of features (N, D): w_c = S^-1 m_c, b_c = -m_c S^-1 m_c / 2.

    S is the within-class covariance of the prior's and the learnt samples together, shrunk towards its mean
    variance by `shrinkage`: "oas", "ledoit_wolf", "kubokawa" or a number in 0..1. Means are maximum a
    posteriori, (n m + n0 m_source) / (n + n0), where the prior knows the class; a class of one learnt sample
    works, because S comes from the others. `priors="counts"` adds log class frequencies.

    Cost: O(D^3 / 3 + K D^2) to fit, O(K D) to decide; memory D^2 while fitting, K D after. Exact to merge,
    to forget and in any order. Assumes classes of one mode and one common covariance. Probabilities are too
    sure of themselves until calibrated. Hayes and Kanan 2020 (Deep SLDA); Chen et al. 2010 (OAS).
    """
    model = discriminant(statistics, prior, n0, shrinkage)
    both, bias = model.both, model.bias
    if priors == "counts":
        seen = both.learnt_counts if both.learnt_counts.any() else both.prior_counts
        bias = bias + np.log((seen + 1.0) / (seen.sum() + len(seen)))
    elif priors is not None:
        raise ValueError(f"priors must be None or 'counts'; got {priors!r}")
    return LinearHead("slda", both.classes, both.feature_space, model.weights, bias, both.shift, model.total)


def discriminant(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    n0: float = 5.0,
    shrinkage: Union[str, float] = "oas",
    weights: Optional[Array] = None,
) -> Discriminant:
    """The parts of the head; `weights` (K, D) of a head fitted on the same operands save the factorisation."""
    both = operands(statistics, prior)
    means, total = _posterior_means(both, n0)
    if weights is None:
        weights = positive_cholesky(_covariance(both, shrinkage)).solve(means.T).T
    elif weights.shape != means.shape:
        raise ValueError(f"weights must have shape {means.shape}; got {weights.shape}")
    return Discriminant(both, means, weights, -0.5 * np.einsum("kd,kd->k", means, weights), total)


def _posterior_means(both: Operands, n0: float) -> Tuple[Array, Array]:
    if not n0 >= 0:
        raise ValueError(f"n0 must not be negative; got {n0}")
    # With n0 = 0 a class that only the prior knows keeps the prior's mean.
    weight = np.where(both.prior_counts > 0, np.where(both.learnt_counts > 0, n0, max(n0, 1.0)), 0.0)
    total = both.learnt_counts + weight
    summed = both.learnt_counts[:, None] * both.learnt_means + weight[:, None] * both.prior_means
    return summed / total[:, None], total


def _covariance(both: Operands, shrinkage: Union[str, float]) -> Array:
    """Shrunk within-class covariance (D, D), maximum likelihood, of both sides."""
    scatter = both.learnt.within_scatter()
    count = both.learnt.count
    if both.prior is not None:
        scatter = scatter + both.prior.within_scatter()
        count += both.prior.count
    dim = scatter.shape[0]
    covariance = scatter / max(count, 1.0)
    variance = float(np.trace(covariance)) / dim
    if not variance > 0:
        # Nothing is known of the spread, as with one sample a class and no prior: nearest mean.
        return np.eye(dim)
    if shrinkage == "oas":
        amount = shrinkage_oas(covariance, count)
    elif shrinkage == "kubokawa":
        amount = shrinkage_kubokawa(dim, count)
    elif shrinkage == "ledoit_wolf":
        amount = _ledoit_wolf(both)
    elif isinstance(shrinkage, (int, float)) and 0 <= shrinkage <= 1:
        amount = float(shrinkage)
    else:
        raise ValueError(f"shrinkage must be 'oas', 'ledoit_wolf', 'kubokawa' or in 0..1; got {shrinkage!r}")
    shrunk: Array = (1.0 - amount) * covariance
    shrunk[np.diag_indices(dim)] += amount * variance
    return shrunk


def _ledoit_wolf(both: Operands) -> float:
    """Intensity for the covariance about the one mean: within classes it would need a Gram matrix a class."""
    rows = both.learnt.moments
    if both.prior is not None:
        rows = rows.combined(both.prior.moments, 1.0)
    centred = rows.moved(-rows.sum / rows.count)
    return shrinkage_ledoit_wolf(centred.covariance(), centred.count, centred.quartic)


load = load_linear
