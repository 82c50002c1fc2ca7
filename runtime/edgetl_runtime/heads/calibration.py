"""Probabilities that mean what they say, fitted by Newton's method on samples that no head has trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.labels import checked_labels
from edgetl_runtime.numerics import log_softmax
from edgetl_runtime.types import Label

__all__ = ["Calibration", "calibrated", "decisions_of_known", "fit_calibration", "fitted_temperature"]

Array = NDArray[np.float64]


def calibrated(
    head: Head, features: ArrayLike, labels: Union[Sequence[Label], NDArray[Any]], strength: float = 10.0
) -> Head:
    """The same decisions with honest probabilities, from guard samples (N, D) with labels (N).

    One temperature by maximum likelihood (Guo et al. 2017), drawn to the present one as `strength` samples would, so
    that neither few labels nor perfectly separated ones run away with it. Samples of classes that the head does
    not know are left out; with none left it is returned as it is.
    """
    known = decisions_of_known(head, features, labels)
    if known is None:
        return head
    before = float(head.metadata().get("temperature", 1.0))
    return head.with_temperature(fitted_temperature(*known, before, strength))


def fitted_temperature(
    decision: Array, codes: NDArray[np.int64], start: float = 1.0, strength: float = 10.0
) -> float:
    """Temperature of the greatest likelihood of classes `codes` (N) under softmax(decision (N, K) / T), drawn to
    `start` as `strength` samples would."""
    return fit_calibration(decision, codes, False, start, strength).temperature


def decisions_of_known(
    head: Head, features: ArrayLike, labels: Union[Sequence[Label], NDArray[Any]]
) -> Optional[Tuple[Array, NDArray[np.int64]]]:
    """Decision values (M, K) and class indices (M) of the samples of classes that the head knows; None without any."""
    index = {label: place for place, label in enumerate(head.classes)}
    rows = np.asarray(features)
    names = checked_labels(labels, len(rows))
    known = [place for place, name in enumerate(names) if name in index]
    if not known or len(index) < 2:
        return None
    return head.decision(rows[known]), np.array([index[names[place]] for place in known], dtype=np.int64)


@dataclass(frozen=True)
class Calibration:
    """softmax(decision / temperature + biases), biases (K) of sum zero."""

    temperature: float
    biases: Array


def fit_calibration(
    decision: Array,
    codes: NDArray[np.int64],
    biases: bool = True,
    start: float = 1.0,
    strength: float = 10.0,
    rounds: int = 50,
) -> Calibration:
    """The temperature, and with `biases` one a class (BCTS), of the greatest likelihood on decision values (N, K)
    with class indices (N).

    Convex in 1 / T and the biases. `strength` (0: none) draws 1 / T to that of `start` and the biases to zero as
    that many samples' worth of doubt would, so few labels change little; it also fixes the gauge, without
    which the Hessian is singular. O(N K^2) a step, some six. Guo et al. 2017; Alexandari et al. 2020.
    """
    if len(codes) != len(decision):
        raise LabelError(f"labels must be one for each of {len(decision)} samples; got {len(codes)}")
    count, k = decision.shape
    if count == 0 or k < 2:
        return Calibration(start, np.zeros(k))
    base = (decision - decision.mean(axis=1, keepdims=True)) / start
    truth = np.zeros((count, k))
    truth[np.arange(count), codes] = 1.0
    # The first parameter is start / T, the others are the biases. A little more than nothing keeps the gauge.
    prior = np.full(k + 1, max(strength, 1e-9 * count))
    centre = np.zeros(k + 1)
    centre[0] = 1.0
    active = np.ones(k + 1, dtype=np.bool_)
    active[1:] = biases

    def loss(point: Array) -> float:
        logs = log_softmax(point[0] * base + point[1:])
        return -float((truth * logs).sum()) + 0.5 * float((prior * (point - centre) ** 2).sum())

    point = centre.copy()
    now = loss(point)
    for _ in range(rounds):
        shares = np.exp(log_softmax(point[0] * base + point[1:]))
        error = shares - truth
        gradient = np.concatenate([[float((error * base).sum())], error.sum(axis=0)]) + prior * (point - centre)
        mean = (shares * base).sum(axis=1)
        hessian = np.diag(prior)
        hessian[0, 0] += float((shares * (base - mean[:, None]) ** 2).sum())
        across = (shares * (base - mean[:, None])).sum(axis=0)
        hessian[0, 1:] += across
        hessian[1:, 0] += across
        hessian[1:, 1:] += np.diag(shares.sum(axis=0)) - shares.T @ shares
        step = np.zeros(k + 1)
        step[active] = np.linalg.solve(hessian[np.ix_(active, active)], gradient[active])
        size = 1.0
        # 1 / T stays positive, and the loss falls.
        while size > 1e-6:
            trial = point - size * step
            value = loss(trial) if trial[0] > 1e-4 else np.inf
            if value <= now:
                break
            size *= 0.5
        else:
            break
        gained, point, now = now - value, trial, value
        if gained <= 1e-12 * max(1.0, abs(now)):
            break
    return Calibration(float(start / point[0]), point[1:] - point[1:].mean())
