"""Softmax regression by streaming gradient steps, with class-balanced replay or without."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.labels import checked_labels, ordered_labels
from edgetl_runtime.numerics import softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import checked_features
from edgetl_runtime.types import Label

__all__ = ["StreamingSoftmax"]

Array = NDArray[np.float64]


class StreamingSoftmax:
    """A softmax head that takes one gradient step a sample, together with `replay` samples of a reservoir.

    Rate, momentum and decay of the weights are those of Hayes and Kanan 2022 (Embedded-CL). Features are
    taken about `shift` (D) and divided by `scale` (D). Without a reservoir it forgets every class that does
    not come again; with a class-balanced one it nearly does not. A step costs O(replay K D), memory 2 K D and
    the reservoir. Neither exact to merge nor to forget, and it depends on the order. Made for comparison and
    for streams without end: on the same samples `slda` is better and exact.
    """

    def __init__(
        self,
        shift: ArrayLike,
        scale: ArrayLike,
        reservoir: Optional[Reservoir] = None,
        rate: float = 0.01,
        momentum: float = 0.9,
        decay: float = 1e-5,
        replay: int = 50,
        feature_space: Optional[str] = None,
    ) -> None:
        self._shift, self._scale = np.array(shift, np.float64), np.array(scale, np.float64)
        if self._shift.ndim != 1 or self._scale.shape != self._shift.shape or not (self._scale > 0).all():
            raise ValueError("shift and scale must be vectors of the same length, scale positive")
        self._reservoir = reservoir
        self._rate, self._momentum, self._decay, self._replay = rate, momentum, decay, replay
        self._feature_space = feature_space
        self._slots: Dict[Label, int] = {}
        self._weights = np.zeros((0, len(self._shift) + 1))
        self._speed = np.zeros_like(self._weights)
        self._counts: List[float] = []

    def learn(
        self,
        features: ArrayLike,
        labels: Union[Sequence[Label], NDArray[Any]],
        generator: np.random.Generator,
    ) -> None:
        """One step for each of features (N, D) with labels (N), in their order."""
        rows = np.asarray(checked_features(features, len(self._shift)), dtype=np.float64)
        names = checked_labels(labels, len(rows))
        for row, name in zip(rows, names):
            if name not in self._slots:
                self._slots[name] = len(self._counts)
                self._counts.append(0.0)
                self._weights = np.concatenate([self._weights, np.zeros((1, self._weights.shape[1]))])
                self._speed = np.concatenate([self._speed, np.zeros((1, self._speed.shape[1]))])
            self._counts[self._slots[name]] += 1.0
            batch, wanted = row[None], [name]
            if self._reservoir is not None and len(self._reservoir):
                count = min(self._replay, len(self._reservoir))
                chosen = generator.choice(len(self._reservoir), count, replace=False)
                stored = self._reservoir.labels
                batch = np.concatenate([batch, self._reservoir.features[chosen]])
                wanted = [name, *stored[chosen].tolist()]
            self._step(batch, wanted)
            if self._reservoir is not None:
                self._reservoir.add(row[None], [name], generator)

    def head(self) -> LinearHead:
        """The present weights as an immutable head."""
        classes = ordered_labels(self._slots)
        slots = [self._slots[label] for label in classes]
        counts = np.array([self._counts[slot] for slot in slots], dtype=np.float64)
        weights, bias = self._weights[slots, :-1] / self._scale, self._weights[slots, -1]
        return LinearHead("softmax", classes, self._feature_space, weights, bias, self._shift.copy(), counts)

    def _step(self, rows: Array, names: Sequence[Label]) -> None:
        scaled = np.concatenate([(rows - self._shift) / self._scale, np.ones((len(rows), 1))], axis=1)
        error = softmax(scaled @ self._weights.T)
        error[np.arange(len(rows)), [self._slots[name] for name in names]] -= 1.0
        gradient = error.T @ scaled / len(rows) + self._decay * self._weights
        self._speed = self._momentum * self._speed - self._rate * gradient
        self._weights = self._weights + self._speed
