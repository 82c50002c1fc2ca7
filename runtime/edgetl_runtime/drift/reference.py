"""What the detectors compare: held-out samples of the source, and new ones, in the same few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.labels import checked_labels
from edgetl_runtime.outliers import OutlierScore, fit_outliers
from edgetl_runtime.statistics import Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["Reference", "Sight", "leading_directions"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """N samples as the detectors see them: features (N, R) along R directions, probabilities (N, K), outlier
    scores (N)."""

    features: Array
    probabilities: Array
    outliers: Array

    def __len__(self) -> int:
        return len(self.features)

    @property
    def codes(self) -> NDArray[np.int64]:
        """Index of the predicted class (N)."""
        return np.argmax(self.probabilities, axis=1) if self.probabilities.shape[1] else np.zeros(len(self), np.int64)

    @property
    def predicted(self) -> Array:
        """How many samples were predicted as each class (K)."""
        return np.bincount(self.codes, minlength=self.probabilities.shape[1]).astype(np.float64)

    def taken(self, rows: NDArray[np.int64]) -> Sight:
        """Some of the samples."""
        return Sight(self.features[rows], self.probabilities[rows], self.outliers[rows])


@dataclass(frozen=True)
class Reference:
    """What nothing having changed looks like: M held-out samples of the source under the head that answers.

    `truth` (M) is the class index of each, -1 where the head does not know its label. The samples must be none
    that the head was fitted on: on those it is too sure of itself. Memory: D R + M (R + K + 1).
    """

    head: Head
    shift: Array
    basis: Array
    score: OutlierScore
    sight: Sight
    truth: NDArray[np.int64]
    spread: float

    @classmethod
    def of(
        cls,
        head: Head,
        source: Statistics,
        features: ArrayLike,
        labels: Union[Sequence[Label], NDArray[Any]],
        score: Optional[OutlierScore] = None,
        most: int = 32,
    ) -> Reference:
        """From held-out features (M, D) with labels (M), along the `most` principal directions of the source.

        The directions come from the source statistics and not from the samples: those would look wider along
        directions chosen on themselves than new ones do. `score` is the outlier score of the session, else that
        of the source alone. O(D^2 R), and a factorisation where no score is given.
        """
        rows = checked_features(features, source.dim)
        names = checked_labels(labels, len(rows))
        index = {label: place for place, label in enumerate(head.classes)}
        truth = np.array([index.get(name, -1) for name in names], dtype=np.int64)
        covariance, mean = source.moments.covariance(), source.moments.sum / max(source.moments.count, 1e-300)
        basis = leading_directions(covariance, min(most, source.dim))
        if score is None:
            score = fit_outliers(Statistics(source.dim, source.shift, source.feature_space), source)
        empty = Sight(np.zeros((0, basis.shape[1])), np.zeros((0, len(index))), np.zeros(0))
        result = cls(head, source.shift + mean, basis, score, empty, truth, float(np.trace(covariance)))
        return cls(head, result.shift, basis, score, result.see(rows), truth, result.spread)

    def see(self, features: ArrayLike) -> Sight:
        """New features (N, D) in the same numbers. O(N D (R + K))."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64)
        along = (rows - self.shift) @ self.basis
        return Sight(along, self.head.predict_proba(rows), self.score.score(rows))


def leading_directions(covariance: Array, count: int) -> Array:
    """The `count` principal directions (D, R) of a covariance (D, D), those without variance left out.

    Subspace iteration: O(D^2 R) a round, where a full decomposition takes O(D^3).
    """
    dim = covariance.shape[0]
    if dim <= 2 * count + 16:
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        start = np.random.Generator(np.random.PCG64(0)).standard_normal((dim, count + 16))
        block, _ = np.linalg.qr(covariance @ start)
        for _ in range(12):
            block, _ = np.linalg.qr(covariance @ block)
        small = block.T @ covariance @ block
        values, inner = np.linalg.eigh((small + small.T) / 2.0)
        values, vectors = values[::-1], block @ inner[:, ::-1]
    kept = values[:count] > 1e-9 * max(float(values[0]), 0.0)
    return np.ascontiguousarray(vectors[:, :count][:, kept])
