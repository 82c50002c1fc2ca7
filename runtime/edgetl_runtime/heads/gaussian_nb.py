"""Gaussian naive Bayes from statistics: a mean and a variance for each class and feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, StatisticsError
from edgetl_runtime.heads.linear import explained, labels_of
from edgetl_runtime.heads.operands import operands
from edgetl_runtime.heads.protocol import Explanation
from edgetl_runtime.labels import checked_label, ordered_labels
from edgetl_runtime.numerics import softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["GaussianHead", "fit", "load"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianHead:
    """Log-likelihood of features (N, D) under a diagonal normal a class: means and variances (K, D)."""

    classes: Tuple[Label, ...]
    feature_space: Optional[str]
    means: Array
    variances: Array
    bias: Array
    shift: Array
    counts: Array
    temperature: float = 1.0

    @property
    def name(self) -> str:
        """Its row in the table."""
        return "gaussian_nb"

    def decision(self, features: ArrayLike) -> Array:
        """Joint log-likelihoods (N, K), less a constant: 2 N K D multiplications."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift
        precision = 1.0 / self.variances
        constant = self.bias - 0.5 * (self.means**2 * precision + np.log(self.variances)).sum(axis=1)
        result: Array = constant + rows @ (self.means * precision).T - 0.5 * (rows**2 @ precision.T)
        return result

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return labels_of(self.classes, self.decision(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return softmax(self.decision(features) / self.temperature)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        near = () if reservoir is None else reservoir.nearest(features)
        decision = self.decision(features)
        return explained(self.classes, decision, softmax(decision / self.temperature), self.counts, near)

    def with_temperature(self, temperature: float) -> GaussianHead:
        """The same decisions with other probabilities."""
        return replace(self, temperature=temperature)

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        return {
            "means": self.means,
            "variances": self.variances,
            "bias": self.bias,
            "shift": self.shift,
            "counts": self.counts,
        }

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {
            "head": self.name,
            "classes": list(self.classes),
            "feature_space": self.feature_space,
            "temperature": self.temperature,
        }


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    n0: float = 5.0,
    smoothing: float = 1e-9,
    priors: Optional[str] = None,
) -> GaussianHead:
    """Gaussian naive Bayes of features (N, D); where the prior knows a class it counts as `n0` samples of it.

    Every variance is raised by `smoothing` times the largest variance of a feature; a class of one sample
    borrows the mean variance of the others. `priors="counts"` adds log class frequencies. Cost: O(K D) to
    fit, 2 K D to decide, memory 2 K D. Exact to merge, to forget and in any order. Assumes features that are
    independent and normal within a class, which those of a network are not: probabilities are far too sure.
    """
    if not (n0 >= 0 and smoothing >= 0):
        raise ValueError(f"n0 and smoothing must not be negative; got {n0} and {smoothing}")
    both = operands(statistics, prior)
    index = {label: row for row, label in enumerate(both.classes)}
    shape = (len(both.classes), statistics.dim)
    counts, sums, squares = np.zeros(len(both.classes)), np.zeros(shape), np.zeros(shape)
    total, total_squares, total_count = np.zeros(shape[1]), np.zeros(shape[1]), 0.0
    for side in (both.learnt, both.prior):
        if side is None or not side.classes:
            continue
        rows = [index[label] for label in side.classes]
        by_class, held = side.by_class, side.counts
        factor = np.ones(len(rows))
        if side is both.prior:
            factor = np.where(both.learnt_counts[rows] > 0, n0, np.maximum(n0, 1.0)) / held
        counts[rows] += factor * held
        sums[rows] += factor[:, None] * by_class.sums
        squares[rows] += factor[:, None] * by_class.squares
        total += by_class.sums.sum(axis=0)
        total_squares += by_class.squares.sum(axis=0)
        total_count += float(held.sum())
    means = sums / counts[:, None]
    variances = np.maximum(squares / counts[:, None] - means**2, 0.0)
    if len(counts):
        several = counts > 1
        shared = (counts[several] @ variances[several]) / counts[several].sum() if several.any() else np.ones(shape[1])
        variances[~several] = shared
        overall = total_squares / total_count - (total / total_count) ** 2
        variances += smoothing * float(overall.max())
        variances[variances <= 0] = float(shared.mean()) * 1e-9 or 1.0
    bias = np.zeros(len(counts))
    if priors == "counts":
        bias = np.log((both.learnt_counts + both.prior_counts) / (both.learnt_counts + both.prior_counts).sum())
    elif priors is not None:
        raise ValueError(f"priors must be None or 'counts'; got {priors!r}")
    return GaussianHead(both.classes, both.feature_space, means, variances, bias, both.shift, counts)


def load(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> GaussianHead:
    """The head of `state()` and `metadata()`; raises StatisticsError on anything else."""
    try:
        classes = tuple(checked_label(label) for label in metadata["classes"])
        if ordered_labels(classes) != classes:
            raise ValueError("classes are not distinct and in order")
        k, dim = len(classes), len(arrays["shift"])
        shapes = {"means": (k, dim), "variances": (k, dim), "bias": (k,), "shift": (dim,), "counts": (k,)}
        if set(arrays) != set(shapes):
            raise ValueError(f"arrays must be {sorted(shapes)}")
        for name, shape in shapes.items():
            array = arrays[name]
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite float64 {shape}")
        if (arrays["variances"] <= 0).any() or not metadata["temperature"] > 0:
            raise ValueError("variances and temperature must be positive")
        kept = {name: np.array(arrays[name]) for name in shapes}
        return GaussianHead(classes, metadata["feature_space"], temperature=metadata["temperature"], **kept)
    except (KeyError, TypeError, ValueError, LabelError) as error:
        raise StatisticsError(f"this is no gaussian_nb head: {error}") from error
