"""Sums up to second order of rows about a fixed shift: an additive group in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "TargetSums"]

Array = NDArray[np.float64]


@dataclass
class Moments:
    """Sums over rows x (D) with weights w: `count` w, `sum` w x (D), `gram` w x x^T (D, D).

    `cubic` w |x|^2 x (D) and `quartic` w |x|^4 are what the shrinkage of Ledoit and Wolf needs beyond them.
    """

    count: float
    sum: Array
    gram: Array
    cubic: Array
    quartic: float

    @classmethod
    def zero(cls, dim: int) -> Moments:
        """Of no rows."""
        return cls(0.0, np.zeros(dim), np.zeros((dim, dim)), np.zeros(dim), 0.0)

    def add(self, rows: Array, weights: Array) -> None:
        """Fold rows (N, D), which are about the shift already, with weights (N)."""
        squared = np.einsum("nd,nd->n", rows, rows)
        self.count += float(weights.sum())
        self.sum += weights @ rows
        self.cubic += (weights * squared) @ rows
        self.quartic += float(weights @ (squared * squared))
        if not (weights == 1.0).all():
            rows = rows * np.sqrt(weights)[:, None]
        # NumPy hands X^T X to the symmetric product of the BLAS, at half the cost of a general one.
        self.gram += rows.T @ rows

    def combined(self, other: Moments, sign: float) -> Moments:
        """self + sign * other, as new arrays."""
        return Moments(
            self.count + sign * other.count,
            self.sum + sign * other.sum,
            self.gram + sign * other.gram,
            self.cubic + sign * other.cubic,
            self.quartic + sign * other.quartic,
        )

    def copy(self) -> Moments:
        """The same in arrays of its own."""
        return Moments(self.count, self.sum.copy(), self.gram.copy(), self.cubic.copy(), self.quartic)

    def scale(self, factor: float) -> None:
        """Multiply every sum in place."""
        self.count *= factor
        self.quartic *= factor
        for array in (self.sum, self.gram, self.cubic):
            array *= factor

    def moved(self, by: Array) -> Moments:
        """The sums of x + by (D) over the same rows: algebra, no row is needed."""
        cross = np.outer(self.sum, by)
        length = float(by @ by)
        trace = float(np.trace(self.gram))
        along = float(self.sum @ by)
        gram_by = self.gram @ by
        return Moments(
            self.count,
            self.sum + self.count * by,
            self.gram + cross + cross.T + self.count * np.outer(by, by),
            self.cubic
            + 2.0 * gram_by
            + length * self.sum
            + (trace + 2.0 * along + self.count * length) * by,
            self.quartic
            + 4.0 * float(by @ gram_by)
            + self.count * length**2
            + 4.0 * float(self.cubic @ by)
            + 2.0 * length * trace
            + 4.0 * length * along,
        )

    def covariance(self) -> Array:
        """Maximum-likelihood covariance (D, D) about the mean; zero without rows."""
        if self.count <= 0:
            return np.zeros_like(self.gram)
        mean = self.sum / self.count
        result: Array = self.gram / self.count - np.outer(mean, mean)
        return result


@dataclass
class TargetSums:
    """Sums with targets y (Q): `sum` w y (Q), `gram` w y y^T (Q, Q), `cross` w x y^T (D, Q)."""

    sum: Array
    gram: Array
    cross: Array

    @classmethod
    def zero(cls, dim: int, count: int) -> TargetSums:
        """Of Q = `count` targets without rows."""
        return cls(np.zeros(count), np.zeros((count, count)), np.zeros((dim, count)))

    def arrays(self) -> Tuple[Array, Array, Array]:
        """The three, in the order of the fields."""
        return self.sum, self.gram, self.cross

    def add(self, rows: Array, weights: Array, targets: Array) -> None:
        """Fold rows (N, D) about the shift with weights (N) and targets (N, Q)."""
        weighted = targets * weights[:, None]
        self.sum += weighted.sum(axis=0)
        self.gram += targets.T @ weighted
        self.cross += rows.T @ weighted

    def combined(self, other: TargetSums, sign: float) -> TargetSums:
        """self + sign * other, as new arrays."""
        return TargetSums(*(mine + sign * theirs for mine, theirs in zip(self.arrays(), other.arrays())))

    def copy(self) -> TargetSums:
        """The same in arrays of its own."""
        return TargetSums(*(array.copy() for array in self.arrays()))

    def scale(self, factor: float) -> None:
        """Multiply every sum in place."""
        for array in self.arrays():
            array *= factor
