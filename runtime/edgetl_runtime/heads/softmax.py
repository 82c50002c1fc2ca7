"""Softmax regression on the samples of a reservoir, to convergence."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.heads.descent import minimise
from edgetl_runtime.heads.linear import LinearHead, load_linear
from edgetl_runtime.labels import ordered_labels
from edgetl_runtime.numerics import log_softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label

__all__ = ["fit", "load", "training_set"]

Array = NDArray[np.float64]


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    reservoir: Optional[Reservoir] = None,
    strength: float = 1.0,
    standardise: bool = True,
    balanced: bool = True,
    tolerance: float = 1e-7,
    weight: Optional[float] = None,
) -> LinearHead:
    """Multinomial logistic regression of the reservoir's features (N, D) on its K classes, by L-BFGS.

    Minimises the summed cross-entropy plus |W|^2 / (2 `strength`), the bias free, as scikit-learn's C does.
    `standardise` scales every feature to spread 1 first; `balanced` gives every class the same weight. `weight` is
    how much a learnt sample counts beside one of the source (a negative number in the reservoir); None lets both
    sides count alike, up to 20: a few labels drown otherwise.
    Statistics and prior are not used, except for the feature space: their samples are gone. Cost: N K D a
    step, some 50 to 300 steps; O(K D) to decide; memory N D while fitting. Neither exact to merge nor to
    forget: it is refitted from the reservoir. Good where classes are not normal and labels many and right.
    """
    if not strength > 0:
        raise ValueError(f"strength must be positive; got {strength}")
    rows, classes, codes, weights = training_set(reservoir, balanced, weight)
    dim, k = statistics.dim, len(classes)
    if k == 0:
        zeros = np.zeros(0)
        return LinearHead("softmax", (), statistics.feature_space, np.zeros((0, dim)), zeros, np.zeros(dim), zeros)
    shift, scale = rows.mean(axis=0), np.ones(dim)
    if standardise:
        spread = rows.std(axis=0)
        scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
    scaled = (rows - shift) / scale
    truth = np.zeros((len(rows), k))
    truth[np.arange(len(rows)), codes] = 1.0

    def objective(flat: Array) -> Tuple[float, Array]:
        matrix = flat.reshape(k, dim + 1)
        logs = log_softmax(scaled @ matrix[:, :dim].T + matrix[:, dim])
        loss = -float(weights @ (logs * truth).sum(axis=1)) + 0.5 / strength * float((matrix[:, :dim] ** 2).sum())
        error = (np.exp(logs) - truth) * weights[:, None]
        gradient = np.empty_like(matrix)
        gradient[:, :dim] = error.T @ scaled + matrix[:, :dim] / strength
        gradient[:, dim] = error.sum(axis=0)
        return loss, gradient.reshape(-1)

    best, _ = minimise(objective, np.zeros(k * (dim + 1)), tolerance=tolerance, steps=2000)
    matrix = best.reshape(k, dim + 1)
    counts = np.bincount(codes, minlength=k).astype(np.float64)
    return LinearHead(
        "softmax", classes, statistics.feature_space, matrix[:, :dim] / scale, matrix[:, dim].copy(), shift, counts
    )


def training_set(
    reservoir: Optional[Reservoir], balanced: bool, weight: Optional[float] = None
) -> Tuple[Array, Tuple[Label, ...], NDArray[np.int64], Array]:
    """Rows (N, D) float64, classes (K), class indices (N) and weights (N) of mean one of a reservoir.

    Its source samples, those of negative numbers, weigh 1 and the learnt ones `weight`, as for the `softmax` head.
    """
    if reservoir is None:
        raise ValueError("this head learns from stored samples: pass reservoir=")
    labels = reservoir.labels.tolist()
    classes = ordered_labels(labels)
    index = {label: row for row, label in enumerate(classes)}
    codes = np.array([index[label] for label in labels], dtype=np.int64)
    learnt = np.array(reservoir.numbers, dtype=np.int64) >= 0
    count = int(learnt.sum())
    if weight is None:
        weight = min(20.0, max(1.0, (len(learnt) - count) / count)) if count else 1.0
    if not weight > 0:
        raise ValueError(f"weight must be positive; got {weight}")
    weights = np.where(learnt, float(weight), 1.0)
    if balanced:
        weights = weights / np.bincount(codes, weights, len(classes))[codes]
    weights = weights * (len(codes) / max(float(weights.sum()), 1e-300))
    return reservoir.features.astype(np.float64), classes, codes, weights


load = load_linear
