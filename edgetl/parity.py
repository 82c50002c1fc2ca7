"""Do two engines give the same answer? Features by their largest difference, decisions by agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.types import Label
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import ParityError

__all__ = ["Parity", "compare", "cosines", "decisions_agreed"]


@dataclass(frozen=True)
class Parity:
    """How far candidate features are from the reference over `samples` samples.

    `max_abs` is the largest difference of any feature, `max_rel` the same relative to the largest
    |reference|, `cosine_min` the cosine of the least similar pair of vectors.
    """

    max_abs: float
    max_rel: float
    cosine_min: float
    samples: int


def compare(reference: ArrayLike, candidate: ArrayLike) -> Parity:
    """Parity of two feature arrays (N, D) of the same samples in the same order.

    Raises ParityError when the shapes differ, there is no sample, or a value is NaN or infinite: then
    there is no figure to report.
    """
    a, b = _features(reference, "reference"), _features(candidate, "candidate")
    if a.shape != b.shape or a.size == 0:
        raise ParityError(
            f"features to compare must have one shape (N, D) and at least one sample; "
            f"got {a.shape} and {b.shape}"
        )
    max_abs, largest = float(np.abs(a - b).max()), float(np.abs(a).max())
    if largest == 0.0:
        max_rel = 0.0 if max_abs == 0.0 else float("inf")
    else:
        max_rel = max_abs / largest
    return Parity(max_abs, max_rel, float(min(1.0, cosines(a, b).min())), len(a))


def cosines(reference: ArrayLike, candidate: ArrayLike) -> NDArray[np.float64]:
    """Cosine (N,) of each pair of feature vectors (N, D): 1 for equal ones, 0 when one of them is zero."""
    a, b = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: NDArray[np.float64] = (a * b).sum(axis=1) / np.where(norms == 0.0, np.inf, norms)
    return np.where((a == b).all(axis=1), 1.0, result)


def decisions_agreed(
    reference: Sequence[Label] | NDArray[Any], candidate: Sequence[Label] | NDArray[Any]
) -> float:
    """Share (0..1) of N decisions on which two engines agree; raises ParityError on other lengths or none."""
    if len(reference) != len(candidate) or not len(reference):
        raise ParityError(
            f"decisions to compare must be of the same samples, at least one; "
            f"got {len(reference)} and {len(candidate)}"
        )
    return sum(bool(a == b) for a, b in zip(reference, candidate, strict=True)) / len(reference)


def _features(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 2:
        raise ParityError(f"{what} features must have shape (N, D); got {array.shape}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(axis=1).sum())
        raise ParityError(f"{what} features of {bad} of {len(array)} samples are NaN or infinite")
    return array
