"""What was learnt and what was shipped, side by side: one order of classes, one shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import FeatureSpaceError
from edgetl_runtime.labels import ordered_labels
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label

__all__ = ["Operands", "operands"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Operands:
    """K classes of either side: counts (K) and means (K, D) about `shift` (D), zero where a side has none."""

    classes: Tuple[Label, ...]
    feature_space: Optional[str]
    shift: Array
    learnt: Statistics
    learnt_counts: Array
    learnt_means: Array
    prior: Optional[Statistics]
    prior_counts: Array
    prior_means: Array


def operands(statistics: Statistics, prior: Optional[Statistics]) -> Operands:
    """Both sides aligned; the prior's shift is kept. Raises FeatureSpaceError."""
    if prior is not None:
        if (prior.dim, prior.feature_space) != (statistics.dim, statistics.feature_space):
            raise FeatureSpaceError(
                f"what was learnt belongs to {statistics.feature_space!r} (D={statistics.dim}), the prior to"
                f" {prior.feature_space!r} (D={prior.dim}); features of two extractor builds never mix"
            )
        if statistics.count or statistics.unlabelled.count:
            if not np.array_equal(statistics.shift, prior.shift):
                statistics = statistics.moved(prior.shift)
        else:
            statistics = Statistics(prior.dim, prior.shift, prior.feature_space)
    classes = ordered_labels(statistics.classes + (prior.classes if prior is not None else ()))
    index = {label: position for position, label in enumerate(classes)}
    dim = statistics.dim
    learnt_counts, learnt_means = _aligned(statistics, index, dim)
    prior_counts, prior_means = _aligned(prior, index, dim)
    return Operands(
        classes,
        statistics.feature_space,
        statistics.shift,
        statistics,
        learnt_counts,
        learnt_means,
        prior,
        prior_counts,
        prior_means,
    )


def _aligned(statistics: Optional[Statistics], index: Dict[Label, int], dim: int) -> Tuple[Array, Array]:
    counts, means = np.zeros(len(index)), np.zeros((len(index), dim))
    if statistics is not None and statistics.classes:
        rows = [index[label] for label in statistics.classes]
        counts[rows] = statistics.counts
        means[rows] = statistics.means()
    return counts, means
