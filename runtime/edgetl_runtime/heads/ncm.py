"""Nearest class mean, prototypes and weight imprinting."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgetl_runtime.heads.linear import LinearHead, load_linear
from edgetl_runtime.heads.operands import operands
from edgetl_runtime.statistics import Statistics

__all__ = ["fit", "load"]


def fit(
    statistics: Statistics, prior: Optional[Statistics] = None, metric: str = "euclidean", n0: float = 5.0
) -> LinearHead:
    """Nearest class mean of features (N, D): K means, decision in O(K D), memory K D.

    `metric` "euclidean" scores -|x - m|^2 / 2, less the part that all classes share; "cosine" scores the
    cosine with the mean direction of a class, which is weight imprinting (Qi et al. 2018). Means are
    maximum a posteriori, (n m + n0 m_source) / (n + n0), where the prior knows the class. Exact to merge,
    to forget and in any order. Assumes classes that are round, alike and of one mode; skewed ReLU features
    are not. Snell et al. 2017; Mensink et al. 2013.
    """
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f"metric must be 'euclidean' or 'cosine'; got {metric!r}")
    if not n0 >= 0:
        raise ValueError(f"n0 must not be negative; got {n0}")
    both = operands(statistics, prior)
    prior_weight = np.where(both.prior_counts > 0, n0, 0.0)
    # With n0 = 0 a class that only the prior knows keeps the prior's mean.
    prior_weight = np.where((both.learnt_counts == 0) & (both.prior_counts > 0), max(n0, 1.0), prior_weight)
    total = both.learnt_counts + prior_weight
    if metric == "euclidean":
        weighted = both.learnt_counts[:, None] * both.learnt_means + prior_weight[:, None] * both.prior_means
        means = weighted / total[:, None]
        bias = -0.5 * np.einsum("kd,kd->k", means, means)
        return LinearHead("ncm", both.classes, both.feature_space, means, bias, both.shift, total)
    directions = np.zeros((len(both.classes), statistics.dim))
    index = {label: row for row, label in enumerate(both.classes)}
    for side, weight in ((both.learnt, both.learnt_counts), (both.prior, prior_weight)):
        if side is not None and side.classes:
            rows = [index[label] for label in side.classes]
            mean = side.by_class.directions / side.counts[:, None]
            directions[rows] += weight[rows][:, None] * mean
    lengths = np.sqrt(np.einsum("kd,kd->k", directions, directions))
    weights = directions / np.where(lengths > 0, lengths, 1.0)[:, None]
    zeros = np.zeros(len(weights))
    # Imprinting scales cosines by a learnt factor; 0.05 is near the usual 10 to 20.
    shift = np.zeros(statistics.dim)
    return LinearHead("ncm", both.classes, both.feature_space, weights, zeros, shift, total, 0.05, unit=True)


load = load_linear
