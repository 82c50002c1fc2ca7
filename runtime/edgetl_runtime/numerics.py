"""Linear algebra that NumPy lacks, in float64: packed symmetric storage, a blocked Cholesky, shrinkage."""

from __future__ import annotations

import math
from typing import List

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Cholesky",
    "log_softmax",
    "pack_symmetric",
    "positive_cholesky",
    "shrinkage_kubokawa",
    "shrinkage_ledoit_wolf",
    "shrinkage_oas",
    "softmax",
    "unpack_symmetric",
]

Array = NDArray[np.float64]

_BLOCK = 96


def pack_symmetric(matrix: Array) -> Array:
    """Lower triangle of (D, D), row by row, as (D (D + 1) / 2,)."""
    side = matrix.shape[0]
    packed = np.empty(side * (side + 1) // 2)
    start = 0
    for row in range(side):
        packed[start : start + row + 1] = matrix[row, : row + 1]
        start += row + 1
    return packed


def unpack_symmetric(packed: Array, side: int) -> Array:
    """The symmetric (D, D) of `pack_symmetric`; raises ValueError when the length does not fit."""
    if packed.shape != (side * (side + 1) // 2,):
        raise ValueError(f"a packed {side} x {side} matrix has {side * (side + 1) // 2} values, got {packed.shape}")
    matrix = np.empty((side, side))
    start = 0
    for row in range(side):
        matrix[row, : row + 1] = packed[start : start + row + 1]
        matrix[: row + 1, row] = packed[start : start + row + 1]
        start += row + 1
    return matrix


class Cholesky:
    """Factor L of a positive definite matrix (D, D) = L L^T, in blocks; raises numpy.linalg.LinAlgError.

    NumPy has no triangular solve and its own factorisation is slow, so the inverses of the diagonal
    blocks are kept and all else is matrix products. Cost D^3 / 3, memory D^2.
    """

    def __init__(self, matrix: Array) -> None:
        self._side = side = matrix.shape[0]
        self._lower = lower = np.array(matrix, dtype=np.float64, order="C")
        self._inverses: List[Array] = []
        for start in range(0, side, _BLOCK):
            stop = min(start + _BLOCK, side)
            corner = np.linalg.cholesky(lower[start:stop, start:stop])
            inverse = np.linalg.inv(corner)
            self._inverses.append(inverse)
            lower[start:stop, start:stop] = corner
            if stop < side:
                panel = lower[stop:, start:stop] @ inverse.T
                lower[stop:, start:stop] = panel
                # Only the lower triangle is updated, in strips: half the work of a full product.
                for top in range(stop, side, 4 * _BLOCK):
                    bottom = min(top + 4 * _BLOCK, side)
                    strip = panel[top - stop : bottom - stop]
                    lower[top:bottom, stop:bottom] -= strip @ panel[: bottom - stop].T

    def half_solve(self, right: Array) -> Array:
        """L^-1 B (D, R) for B (D, R): whitens columns."""
        result = np.array(right, dtype=np.float64)
        for index, start in enumerate(range(0, self._side, _BLOCK)):
            stop = min(start + _BLOCK, self._side)
            if start:
                result[start:stop] -= self._lower[start:stop, :start] @ result[:start]
            result[start:stop] = self._inverses[index] @ result[start:stop]
        return result

    def solve(self, right: Array) -> Array:
        """A^-1 B (D, R) for B (D, R)."""
        result = self.half_solve(right)
        starts = list(range(0, self._side, _BLOCK))
        for index in reversed(range(len(starts))):
            start = starts[index]
            stop = min(start + _BLOCK, self._side)
            if stop < self._side:
                result[start:stop] -= self._lower[stop:, start:stop].T @ result[stop:]
            result[start:stop] = self._inverses[index].T @ result[start:stop]
        return result

    def log_determinant(self) -> float:
        """log det A."""
        return 2.0 * float(np.log(np.diagonal(self._lower)).sum())


def positive_cholesky(matrix: Array) -> Cholesky:
    """Factor of a positive semi-definite (D, D), with the least jitter on the diagonal that lets it succeed."""
    scale = float(np.trace(matrix)) / max(1, matrix.shape[0])
    if not math.isfinite(scale):
        raise ValueError("the matrix holds NaN or infinite values")
    scale = scale if scale > 0 else 1.0
    for exponent in (None, -14, -12, -10, -8, -6, -4):
        jittered = matrix
        if exponent is not None:
            jittered = matrix.copy()
            jittered[np.diag_indices_from(jittered)] += scale * 10.0**exponent
        try:
            return Cholesky(jittered)
        except np.linalg.LinAlgError:
            continue
    raise ValueError("the matrix is not positive semi-definite, not even nearly")


def shrinkage_oas(covariance: Array, count: float) -> float:
    """Weight in 0..1 of the scaled identity by Oracle Approximating Shrinkage (Chen et al. 2010).

    `covariance` (D, D) is the maximum-likelihood estimate from `count` samples.
    """
    side = covariance.shape[0]
    if side == 1:
        return 0.0
    mean_square = float(np.einsum("ij,ij->", covariance, covariance)) / side**2
    squared_mean = (float(np.trace(covariance)) / side) ** 2
    denominator = (count + 1.0) * (mean_square - squared_mean / side)
    return 1.0 if denominator <= 0 else min(1.0, (mean_square + squared_mean) / denominator)


def shrinkage_kubokawa(side: int, count: float) -> float:
    """Weight in 0..1 of the scaled identity after Kubokawa and Srivastava (2008): D / (n - 1 + D)."""
    return side / (max(0.0, count - 1.0) + side)


def shrinkage_ledoit_wolf(covariance: Array, count: float, quartic: float) -> float:
    """Weight in 0..1 of the scaled identity by Ledoit and Wolf (2004).

    `covariance` (D, D) is the maximum-likelihood estimate from `count` samples x about their mean m, and
    `quartic` the sum of |x - m|^4 over them.
    """
    side = covariance.shape[0]
    if side == 1 or count <= 0:
        return 0.0
    mean = float(np.trace(covariance)) / side
    square = float(np.einsum("ij,ij->", covariance, covariance))
    beta = (quartic / count - square) / (side * count)
    delta = (square - 2.0 * mean * float(np.trace(covariance)) + side * mean**2) / side
    return 0.0 if min(beta, delta) <= 0 else min(beta, delta) / delta


def log_softmax(logits: Array) -> Array:
    """Logarithm of the softmax of (N, K) over K; minus infinity is allowed for some classes, not for all."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def softmax(logits: Array) -> Array:
    """Probabilities (N, K) of logits (N, K), without overflow."""
    if logits.shape[1] == 0:
        return np.zeros(logits.shape)
    result: Array = np.exp(log_softmax(logits))
    return result


