"""What heads are scored by: classes by right and wrong, numbers by their squared error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from edgetl_runtime.heads import Head
from numpy.typing import NDArray

__all__ = ["ClassScoring", "NumberScoring", "Scoring"]

SHARE_OF_ERROR = 0.1


class Scoring(Protocol):
    """The truth of N samples, and how answers of heads are held against it."""

    def answers(self, head: Head, features: NDArray[np.float32]) -> NDArray[Any]:
        """What the head says of features (M, D), a row each."""

    def empty(self) -> NDArray[Any]:
        """Room for the answers to all N samples."""

    def errors(self, answers: NDArray[Any]) -> NDArray[np.float64]:
        """Error (N,) of each answer; one less its mean is the score."""

    def equal(self, reference: NDArray[Any], answers: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of N answers are the same as the reference's, (N,)."""


@dataclass(frozen=True)
class ClassScoring:
    """Labels (N,): an answer is right or wrong, and the score is the accuracy."""

    labels: Sequence[str]

    def answers(self, head: Head, features: NDArray[np.float32]) -> NDArray[Any]:
        """Class names (M,)."""
        return np.array([str(label) for label in head.predict(features)], dtype=object)

    def empty(self) -> NDArray[Any]:
        """Room for N class names."""
        return np.empty(len(self.labels), dtype=object)

    def errors(self, answers: NDArray[Any]) -> NDArray[np.float64]:
        """0 or 1."""
        return np.asarray(answers != np.array(self.labels, dtype=object), np.float64)

    def equal(self, reference: NDArray[Any], answers: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether it is the same class."""
        return np.asarray(reference == answers, bool)


@dataclass(frozen=True)
class NumberScoring:
    """Numbers (N, Q): an error is the squared one over the variance, so that the score is R2, a mean over Q.

    Answers are equal when they differ by less than a tenth of the error that the reference has anyway.
    """

    targets: NDArray[np.float64]

    def answers(self, head: Head, features: NDArray[np.float32]) -> NDArray[Any]:
        """Numbers (M, Q)."""
        return np.asarray(head.decision(features), np.float64)

    def empty(self) -> NDArray[Any]:
        """Room for (N, Q)."""
        return np.empty(self.targets.shape)

    def errors(self, answers: NDArray[Any]) -> NDArray[np.float64]:
        """Squared errors over the variance, (N,)."""
        variance = np.maximum(self.targets.var(axis=0), 1e-300)
        errors: Any = ((answers - self.targets) ** 2 / variance).mean(axis=1)
        return np.asarray(errors, np.float64)

    def equal(self, reference: NDArray[Any], answers: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether all Q differ by less than a tenth of the reference's root mean square error."""
        usual = np.sqrt(((reference - self.targets) ** 2).mean(axis=0))
        return np.asarray((np.abs(answers - reference) <= SHARE_OF_ERROR * usual).all(axis=1), bool)
