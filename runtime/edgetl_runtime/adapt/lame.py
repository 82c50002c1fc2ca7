"""Neighbours in a batch vote on each other: for streams whose frames belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.heads.linear import explained, labels_of
from edgetl_runtime.heads.protocol import Explanation, Head
from edgetl_runtime.numerics import softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.types import Label

__all__ = ["LameHead", "adapt", "laplacian"]

Array = NDArray[np.float64]


def adapt(situation: Situation, neighbours: int = 5, rounds: int = 100) -> Adapted:
    """A head whose answer on a batch (some 64 to 128 samples) maximises likelihood and agreement of neighbours.

    For: correlated streams, and label shift inside a batch. Harms: little, as it moves no weight and forgets
    every batch (paper: -1.2 to +17 points); batches of mixed independent samples lose a point. It learns
    nothing from the buffer. One sample alone is answered as the inner head does. O(N^2 D) a batch of N, no
    state. Boudiaf et al. 2022 (LAME), written from the paper's formula.
    """
    head = LameHead(situation.refitted(), situation.source.shift, neighbours, rounds)
    return Adapted("lame", head, {"neighbours": float(neighbours)})


def laplacian(log_probabilities: Array, affinity: Array, rounds: int = 100) -> Array:
    """Assignments Y (N, K): the fixed point of Y = softmax(log p + A Y), concave-convex, energy never rises."""
    assigned = np.exp(log_probabilities)
    energy = np.inf
    for _ in range(rounds):
        assigned = softmax(log_probabilities + affinity @ assigned)
        logs = np.log(np.maximum(assigned, 1e-20))
        now = float((assigned * (logs - log_probabilities)).sum() - 0.5 * (assigned * (affinity @ assigned)).sum())
        if abs(energy - now) <= 1e-8 * max(1.0, abs(now)):
            break
        energy = now
    return assigned


@dataclass(frozen=True)
class LameHead:
    """What an inner head says of a batch, made smooth over its k nearest neighbours by cosine about `shift`."""

    inner: Head
    shift: Array
    neighbours: int = 5
    rounds: int = 100

    @property
    def name(self) -> str:
        """ "lame"."""
        return "lame"

    @property
    def classes(self) -> Tuple[Label, ...]:
        """Those of the inner head (K)."""
        return self.inner.classes

    @property
    def feature_space(self) -> Optional[str]:
        """That of the inner head."""
        return self.inner.feature_space

    def decision(self, features: ArrayLike) -> Array:
        """Logarithms of the assignments (N, K) of a batch of features (N, D)."""
        return np.log(np.maximum(self.predict_proba(features), 1e-300))

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of a batch of features (N, D)."""
        return labels_of(self.classes, self.predict_proba(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Assignments (N, K) of a batch of features (N, D); rows sum to one."""
        probabilities = self.inner.predict_proba(features)
        rows = np.asarray(features, dtype=np.float64) - self.shift
        count = len(rows)
        near = min(self.neighbours, count - 1)
        if near < 1 or probabilities.shape[1] == 0:
            return probabilities
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        rows = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
        cosines = rows @ rows.T
        np.fill_diagonal(cosines, -np.inf)
        closest = np.argpartition(-cosines, near - 1, axis=1)[:, :near]
        affinity = np.zeros((count, count))
        affinity[np.arange(count)[:, None], closest] = 1.0
        # Symmetric, which the guarantee that the energy falls needs.
        affinity = (affinity + affinity.T) / 2.0
        return laplacian(np.log(np.maximum(probabilities, 1e-20)), affinity, self.rounds)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D): as the inner head."""
        near = () if reservoir is None else reservoir.nearest(features)
        counts = np.zeros(len(self.classes))
        return explained(self.classes, self.decision(features), self.predict_proba(features), counts, near)

    def with_temperature(self, temperature: float) -> LameHead:
        """The inner head at another temperature, which changes how much the neighbours count."""
        return replace(self, inner=self.inner.with_temperature(temperature))

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays of the inner head, and the shift."""
        arrays: Dict[str, NDArray[Any]] = {f"inner.{name}": array for name, array in self.inner.state().items()}
        return {**arrays, "shift": self.shift}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {
            "head": self.name,
            "inner": self.inner.metadata(),
            "neighbours": self.neighbours,
            "rounds": self.rounds,
        }
