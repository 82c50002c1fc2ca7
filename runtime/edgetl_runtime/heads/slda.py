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

__all__ = ["Discriminant", "covariance_parts", "discriminant", "fit", "load", "posterior_means"]

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
    common: float = 5.0,
    shrinkage: Union[str, float] = "oas",
    trust: Optional[float] = None,
    priors: Optional[str] = None,
) -> LinearHead:
    """Shared-covariance discriminant of features (N, D): w_c = S^-1 m_c, b_c = -m_c S^-1 m_c / 2.

    Means are maximum a posteriori. The shift of the domain is a part common to all classes, which counts as
    zero with the weight of `common` samples (infinity: none), and a part of each class, zero with the weight
    of `n0` samples: m_c = (n m + n0 (m_source + shared)) / (n + n0). Classes not met yet move along, classes
    that the prior does not know take their own mean, from one sample on.

    S is the prior's within-class covariance, which counts as `trust` samples at most (None: D), pooled with
    the learnt samples' about m_c: shrunk towards its mean variance by `shrinkage`, "oas", "ledoit_wolf",
    "kubokawa" or a number in 0..1. `priors="counts"` adds log class frequencies. common=inf, trust=inf and
    n0=5 is plain SLDA with prior means; with no prior it is the textbook discriminant.

    Cost: O(D^3 / 3 + K D^2) to fit, O(K D) to decide; memory D^2 while fitting, K D after. Exact to merge,
    to forget and in any order. Assumes classes of one mode and one common covariance. Probabilities are too
    sure of themselves until calibrated. Hayes and Kanan 2020 (Deep SLDA); Chen et al. 2010 (OAS); the
    defaults were measured, see benchmarks/fewshot.py.
    """
    model = discriminant(statistics, prior, n0, common, shrinkage, trust)
    both, bias = model.both, model.bias
    if priors == "counts":
        seen = both.learnt_counts + both.prior_counts
        bias = bias + np.log(seen / seen.sum())
    elif priors is not None:
        raise ValueError(f"priors must be None or 'counts'; got {priors!r}")
    return LinearHead("slda", both.classes, both.feature_space, model.weights, bias, both.shift, model.total)


def discriminant(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    n0: float = 5.0,
    common: float = 5.0,
    shrinkage: Union[str, float] = "oas",
    trust: Optional[float] = None,
    weights: Optional[Array] = None,
) -> Discriminant:
    """The parts of the head; `weights` (K, D) of a head fitted on the same operands save the factorisation."""
    both = operands(statistics, prior)
    means, total = posterior_means(both, n0, common)
    if weights is None:
        matrix, count, _ = covariance_parts(both, means, shrinkage, trust)
        # In the order in which they are stored: a product in another order is rounded otherwise.
        weights = np.ascontiguousarray(count * positive_cholesky(matrix).solve(means.T).T)
    elif weights.shape != means.shape:
        raise ValueError(f"weights must have shape {means.shape}; got {weights.shape}")
    return Discriminant(both, means, weights, -0.5 * np.einsum("kd,kd->k", means, weights), total)


def posterior_means(both: Operands, n0: float, common: float) -> Tuple[Array, Array]:
    """Means (K, D) about the shift, and the weight (K) of the samples behind each."""
    if not (n0 >= 0 and common >= 0):
        raise ValueError(f"n0 and common must not be negative; got {n0} and {common}")
    counts, means = both.learnt_counts, both.prior_means.copy()
    known, seen = both.prior_counts > 0, both.learnt_counts > 0
    shared = known & seen
    if shared.any() and n0 > 0:
        moved = both.learnt_means[shared] - both.prior_means[shared]
        precision = 1.0 / (1.0 / n0 + 1.0 / counts[shared])
        means[known] += (precision @ moved) / (precision.sum() + common)
    # With n0 = 0 a class that only the prior knows keeps the prior's mean.
    weight = np.where(known, np.where(seen, n0, max(n0, 1.0)), 0.0)
    total = counts + weight
    return (counts[:, None] * both.learnt_means + weight[:, None] * means) / total[:, None], total


def covariance_parts(
    both: Operands, means: Array, shrinkage: Union[str, float], trust: Optional[float]
) -> Tuple[Array, float, float]:
    """Shrunk within-class covariance (D, D) of both sides times `count`, that count, and how much of the learnt
    samples' scatter was shrunk away (0 with a prior, whose own was)."""
    seen = both.learnt_counts > 0
    scatter, count = both.learnt.within_scatter(), both.learnt.count
    if both.prior is None or not both.prior.count > 0:
        shrunk, amount = _shrunk(scatter, max(count, 1.0), shrinkage, both.learnt)
        return shrunk, max(count, 1.0), amount
    source, _ = _shrunk(both.prior.within_scatter(), both.prior.count, shrinkage, both.prior)
    strength = min(both.prior.count, float(both.prior.dim) if trust is None else trust)
    if not strength > 0:
        raise ValueError(f"trust must be positive; got {trust}")
    source *= strength / both.prior.count
    if count > 0:
        gap = np.sqrt(both.learnt_counts[seen])[:, None] * (both.learnt_means[seen] - means[seen])
        source += scatter
        source += gap.T @ gap
    return source, strength + count, 0.0


def _shrunk(
    scatter: Array, count: float, shrinkage: Union[str, float], statistics: Statistics
) -> Tuple[Array, float]:
    """Scatter (D, D) of `count` samples drawn towards its mean variance, and by how much; changes its argument."""
    dim = scatter.shape[0]
    variance = float(np.trace(scatter)) / dim
    if not variance > 0:
        # Nothing is known of the spread, as with one sample a class and no prior: nearest mean.
        return count * np.eye(dim), 0.0
    if shrinkage == "oas":
        amount = shrinkage_oas(scatter / count, count)
    elif shrinkage == "kubokawa":
        amount = shrinkage_kubokawa(dim, count)
    elif shrinkage == "ledoit_wolf":
        amount = _ledoit_wolf(statistics)
    elif isinstance(shrinkage, (int, float)) and 0 <= shrinkage <= 1:
        amount = float(shrinkage)
    else:
        raise ValueError(f"shrinkage must be 'oas', 'ledoit_wolf', 'kubokawa' or in 0..1; got {shrinkage!r}")
    scatter *= 1.0 - amount
    scatter[np.diag_indices(dim)] += amount * variance
    return scatter, amount


def _ledoit_wolf(statistics: Statistics) -> float:
    """Intensity for the covariance about the one mean: within classes it would need a Gram matrix a class."""
    rows = statistics.moments
    centred = rows.moved(-rows.sum / rows.count)
    return shrinkage_ledoit_wolf(centred.covariance(), centred.count, centred.quartic)


load = load_linear
