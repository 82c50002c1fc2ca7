"""Calibration of a head by a temperature and a bias a class, and how honest probabilities are."""

from __future__ import annotations

from typing import Any, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.heads.calibration import calibrated, decisions_of_known, fit_calibration
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.types import Label

__all__ = ["expected_calibration_error", "recalibrated"]

Array = NDArray[np.float64]


def recalibrated(
    head: Head,
    features: ArrayLike,
    labels: Union[Sequence[Label], NDArray[Any]],
    biases: bool = True,
    strength: float = 10.0,
) -> Head:
    """The head with honest probabilities, from guard samples (N, D) with labels (N) that it never trained on.

    `heads.calibrated`, and with `biases` one of them a class as well (BCTS, Alexandari et al. 2020), which changes
    decisions where classes were systematically over- or under-rated.
    """
    if not biases:
        return calibrated(head, features, labels, strength)
    known = decisions_of_known(head, features, labels)
    if known is None:
        return head
    before = float(head.metadata().get("temperature", 1.0))
    found = fit_calibration(*known, True, before, strength)
    shifted = adapted_head(head, offset=found.temperature * found.biases)
    return shifted.with_temperature(found.temperature)


def expected_calibration_error(probabilities: Array, codes: NDArray[np.int64], bins: int = 15) -> float:
    """Mean gap of confidence and accuracy over equal-width bins of confidence, weighted by their samples."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == codes
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps[counts > 0]).sum() / max(1, len(codes)))
