"""Probabilities that mean what they say: one temperature, fitted on samples that no head has trained on."""

from __future__ import annotations

from typing import Any, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.labels import checked_labels
from edgetl_runtime.numerics import log_softmax
from edgetl_runtime.types import Label

__all__ = ["calibrated", "fitted_temperature"]

# Below this many labels the logarithm of the temperature is drawn towards the head's own.
_ENOUGH = 200.0


def calibrated(head: Head, features: ArrayLike, labels: Union[Sequence[Label], NDArray[Any]]) -> Head:
    """The same decisions with honest probabilities, from guard samples (N, D) with labels (N).

    One temperature by maximum likelihood (Guo et al. 2017), shrunk towards the present one below 200 labels.
    Samples of classes that the head does not know are left out; with none left it is returned as it is.
    """
    index = {label: row for row, label in enumerate(head.classes)}
    decision = head.decision(features)
    names = checked_labels(labels, len(decision))
    known = [position for position, name in enumerate(names) if name in index]
    if not known or len(index) < 2:
        return head
    codes = np.array([index[names[position]] for position in known], dtype=np.int64)
    before = head.metadata().get("temperature", 1.0)
    fitted = fitted_temperature(decision[known], codes, before)
    share = min(1.0, len(known) / _ENOUGH)
    return head.with_temperature(float(np.exp(share * np.log(fitted) + (1.0 - share) * np.log(before))))


def fitted_temperature(decision: NDArray[np.float64], codes: NDArray[np.int64], start: float = 1.0) -> float:
    """Temperature of the greatest likelihood of classes `codes` (N) under softmax(decision (N, K) / T)."""
    if len(codes) != len(decision):
        raise LabelError(f"labels must be one for each of {len(decision)} samples; got {len(codes)}")
    # Golden section in log T, which has one minimum; bounded, as separable samples ask for T = 0.
    low, high = np.log(start) - 9.0, np.log(start) + 9.0
    ratio = (np.sqrt(5.0) - 1.0) / 2.0

    def loss(log_temperature: float) -> float:
        logs = log_softmax(decision / np.exp(log_temperature))
        return -float(logs[np.arange(len(codes)), codes].mean())

    left, right = high - ratio * (high - low), low + ratio * (high - low)
    left_loss, right_loss = loss(left), loss(right)
    for _ in range(60):
        if left_loss <= right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - ratio * (high - low)
            left_loss = loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + ratio * (high - low)
            right_loss = loss(right)
    return float(np.exp(0.5 * (low + high)))
