"""A linear classification head: the form that most heads end in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, StatisticsError
from edgetl_runtime.heads.protocol import Evidence, Explanation
from edgetl_runtime.labels import checked_label, label_array, ordered_labels
from edgetl_runtime.numerics import softmax
from edgetl_runtime.reservoir import Neighbour, Reservoir
from edgetl_runtime.statistics import checked_features
from edgetl_runtime.types import Label

__all__ = ["LinearHead", "explained", "labels_of", "load_linear"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearHead:
    """decision = (x - shift) W^T + b, in float64, for features (N, D): N K D multiplications.

    `weights` (K, D), `bias` (K), `shift` (D), `counts` (K) the weight of the samples behind each class.
    With `unit` the feature is divided by its length first, unshifted: then the head is a cosine. `temperature`
    divides the decision values before the softmax: it makes probabilities honest and changes no decision.
    """

    name: str
    classes: Tuple[Label, ...]
    feature_space: Optional[str]
    weights: Array
    bias: Array
    shift: Array
    counts: Array
    temperature: float = 1.0
    unit: bool = False

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K) of features (N, D)."""
        # Widened and shifted before the product: in float32 a mean of several spreads costs three digits.
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64)
        if self.unit:
            lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
            rows = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
        else:
            rows = rows - self.shift
        result: Array = rows @ self.weights.T + self.bias
        return result

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return labels_of(self.classes, self.decision(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return softmax(self.decision(features) / self.temperature)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        decision = self.decision(features)
        shares: Tuple[Tuple[int, float], ...] = ()
        if len(self.classes) > 1 and len(decision) == 1:
            first, second = np.argsort(-decision[0], kind="stable")[:2]
            row = np.asarray(features, dtype=np.float64)[0]
            row = row if self.unit else row - self.shift
            parts = row * (self.weights[first] - self.weights[second])
            strongest = np.argsort(-np.abs(parts), kind="stable")[:8]
            shares = tuple((int(index), float(parts[index])) for index in strongest)
        near = () if reservoir is None else reservoir.nearest(features)
        return explained(self.classes, decision, softmax(decision / self.temperature), self.counts, near, shares)

    def with_temperature(self, temperature: float) -> LinearHead:
        """The same decisions with other probabilities."""
        return replace(self, temperature=temperature)

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        return {"weights": self.weights, "bias": self.bias, "shift": self.shift, "counts": self.counts}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {
            "head": self.name,
            "classes": list(self.classes),
            "feature_space": self.feature_space,
            "temperature": self.temperature,
            "unit": self.unit,
        }


def labels_of(classes: Tuple[Label, ...], decision: Array) -> NDArray[Any]:
    """Labels (N) of the largest decision values (N, K); None without classes."""
    if not classes:
        return np.full(len(decision), None, dtype=object)
    labels: NDArray[Any] = label_array(classes)[np.argmax(decision, axis=1)]
    return labels


def explained(
    classes: Tuple[Label, ...],
    decision: Array,
    probabilities: Array,
    counts: Array,
    neighbours: Tuple[Neighbour, ...] = (),
    shares: Tuple[Tuple[int, float], ...] = (),
) -> Explanation:
    """The record for decision values and probabilities (1, K)."""
    if len(decision) != 1:
        raise ValueError(f"explain takes one sample (1, D); got {len(decision)}")
    order = np.argsort(-decision[0], kind="stable")
    evidence = tuple(
        Evidence(classes[k], float(decision[0, k]), float(probabilities[0, k]), float(counts[k])) for k in order
    )
    return Explanation(evidence[0].label if evidence else None, evidence, shares, neighbours)


def load_linear(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> LinearHead:
    """The head of `LinearHead.state()` and `metadata()`; raises StatisticsError on anything else."""
    if set(metadata) != {"head", "classes", "feature_space", "temperature", "unit"}:
        raise StatisticsError(f"the metadata of a linear head has other keys: {sorted(metadata)}")
    if set(arrays) != {"weights", "bias", "shift", "counts"}:
        raise StatisticsError(f"the arrays of a linear head have other names: {sorted(arrays)}")
    try:
        classes = tuple(checked_label(label) for label in metadata["classes"])
    except LabelError as error:
        raise StatisticsError(f"a head has a class that is none: {error}") from error
    if ordered_labels(classes) != classes:
        raise StatisticsError("the classes of a head are not distinct and in order")
    dim = arrays["shift"].shape[0] if arrays["shift"].ndim == 1 else -1
    shapes = {"weights": (len(classes), dim), "bias": (len(classes),), "shift": (dim,), "counts": (len(classes),)}
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise StatisticsError(f"{name} must be finite float64 {shape}; got {array.dtype} {array.shape}")
    temperature = metadata["temperature"]
    if not isinstance(temperature, float) or not 0 < temperature < float("inf"):
        raise StatisticsError(f"the temperature of a head must be positive; got {temperature!r}")
    return LinearHead(
        str(metadata["head"]),
        classes,
        metadata["feature_space"],
        weights=np.array(arrays["weights"]),
        bias=np.array(arrays["bias"]),
        shift=np.array(arrays["shift"]),
        counts=np.array(arrays["counts"]),
        temperature=temperature,
        unit=bool(metadata["unit"]),
    )
