"""Samples that are like nothing known, put together by likeness: one label then teaches a whole cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads.operands import operands
from edgetl_runtime.heads.slda import covariance_parts, posterior_means
from edgetl_runtime.labels import checked_labels
from edgetl_runtime.numerics import Cholesky, positive_cholesky
from edgetl_runtime.statistics import Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["Cluster", "Likeness", "clusters"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """Positions of samples that look alike, the most typical first, and the mean likeness of its pairs (-1 to 1)."""

    members: Tuple[int, ...]
    likeness: float

    def question(self) -> str:
        """What a person is asked."""
        return f"these {len(self.members)} look alike: what are they?"


@dataclass(frozen=True)
class Likeness:
    """Cosine of two samples about the source's mean in the metric of its within-class covariance, and what pairs
    of one class have of it: two thirds of them are above `threshold`.

    In that metric a direction counts by how well it tells classes apart, known or not. Memory D^2.
    """

    shift: Array
    factor: Cholesky
    threshold: float

    @classmethod
    def of(
        cls, source: Statistics, features: ArrayLike, labels: Union[Sequence[Label], NDArray[Any]]
    ) -> Likeness:
        """From source statistics and held-out features (M, D) with labels (M). O(D^3 / 3 + M D^2)."""
        both = operands(Statistics(source.dim, source.shift, source.feature_space), source)
        means, _ = posterior_means(both, 5.0, 5.0)
        matrix, _, _ = covariance_parts(both, means, "oas", None)
        moments = source.moments
        bare = cls(source.shift + moments.sum / max(moments.count, 1e-300), positive_cholesky(matrix), 0.0)
        names = np.array([str(label) for label in checked_labels(labels, len(np.asarray(features)))])
        cosines = bare.between(features)
        same = np.triu(names[:, None] == names[None], 1)
        return cls(bare.shift, bare.factor, float(np.quantile(cosines[same], 1.0 / 3.0)) if same.any() else 0.5)

    def between(self, features: ArrayLike) -> Array:
        """Likeness (N, N) of features (N, D). O(N D^2 + N^2 D)."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift
        white = self.factor.half_solve(rows.T).T
        lengths = np.sqrt(np.einsum("nd,nd->n", white, white))
        white = white / np.where(lengths > 0, lengths, 1.0)[:, None]
        result: Array = white @ white.T
        return result


def clusters(features: ArrayLike, likeness: Likeness, least: int = 3, most: int = 500) -> Tuple[Cluster, ...]:
    """The clusters of at least `least` samples among the last `most` of features (N, D), the largest first.

    Average linkage: two clusters join while their samples are on average as alike as those of one class are.
    O(N^3) in NumPy, some 0.2 s at 300; members are positions in `features`.
    """
    first = max(0, len(np.asarray(features)) - most)
    rows = np.asarray(features)[first:]
    if len(rows) < least:
        return ()
    cosines = likeness.between(rows)
    found = [
        _cluster(cosines, members, first) for members in _linked(cosines, likeness.threshold) if len(members) >= least
    ]
    return tuple(sorted(found, key=lambda cluster: (-len(cluster.members), cluster.members)))


def _linked(cosines: Array, threshold: float) -> List[List[int]]:
    groups = [[position] for position in range(len(cosines))]
    table = cosines.copy()
    np.fill_diagonal(table, -np.inf)
    alive = np.ones(len(groups), dtype=np.bool_)
    while True:
        place = int(np.argmax(table))
        one, other = divmod(place, len(table))
        if table[one, other] < threshold:
            return [group for group, here in zip(groups, alive) if here]
        first, second = float(len(groups[one])), float(len(groups[other]))
        joined = (first * table[one] + second * table[other]) / (first + second)
        groups[one] = groups[one] + groups[other]
        alive[other] = False
        table[one], table[:, one] = joined, joined
        table[one, one] = -np.inf
        table[other], table[:, other] = -np.inf, -np.inf


def _cluster(cosines: Array, members: List[int], first: int) -> Cluster:
    block = cosines[np.ix_(members, members)]
    order = np.argsort(-block.sum(axis=1), kind="stable")
    pairs = float((block.sum() - np.trace(block)) / max(1, len(members) * (len(members) - 1)))
    return Cluster(tuple(first + members[place] for place in order), pairs)
