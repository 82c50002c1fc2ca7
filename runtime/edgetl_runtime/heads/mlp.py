"""A perceptron with one hidden layer on the samples of a reservoir."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, StatisticsError
from edgetl_runtime.heads.descent import minimise
from edgetl_runtime.heads.linear import explained, labels_of
from edgetl_runtime.heads.protocol import Explanation
from edgetl_runtime.heads.softmax import training_set
from edgetl_runtime.labels import checked_label, ordered_labels
from edgetl_runtime.numerics import log_softmax, softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["PerceptronHead", "fit", "load", "loss_and_gradient"]

Array = NDArray[np.float64]

# A bundle says both, and a device fits what it says.
_WIDEST, _MOST_STEPS = 2048, 10_000


@dataclass(frozen=True)
class PerceptronHead:
    """decision = tanh((x - shift) A^T + a) B^T + b for features (N, D): A (H, D), B (K, H)."""

    classes: Tuple[Label, ...]
    feature_space: Optional[str]
    hidden: Array
    hidden_bias: Array
    output: Array
    output_bias: Array
    shift: Array
    counts: Array
    temperature: float = 1.0

    @property
    def name(self) -> str:
        """Its row in the table."""
        return "mlp"

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K) of features (N, D): N H (D + K) multiplications."""
        rows = np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift
        result: Array = np.tanh(rows @ self.hidden.T + self.hidden_bias) @ self.output.T + self.output_bias
        return result

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return labels_of(self.classes, self.decision(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return softmax(self.decision(features) / self.temperature)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        near = () if reservoir is None else reservoir.nearest(features)
        decision = self.decision(features)
        return explained(self.classes, decision, softmax(decision / self.temperature), self.counts, near)

    def with_temperature(self, temperature: float) -> PerceptronHead:
        """The same decisions with other probabilities."""
        return replace(self, temperature=temperature)

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        return {
            "hidden": self.hidden,
            "hidden_bias": self.hidden_bias,
            "output": self.output,
            "output_bias": self.output_bias,
            "shift": self.shift,
            "counts": self.counts,
        }

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {
            "head": self.name,
            "classes": list(self.classes),
            "feature_space": self.feature_space,
            "temperature": self.temperature,
        }


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    reservoir: Optional[Reservoir] = None,
    width: int = 64,
    penalty: float = 1e-2,
    balanced: bool = True,
    seed: int = 0,
    steps: int = 300,
    weight: Optional[float] = None,
) -> PerceptronHead:
    """One hidden layer of H = `width` tanh units on the reservoir's features (N, D), by L-BFGS on all samples.

    Minimises the mean cross-entropy plus `penalty` |weights|^2 / 2 from a start drawn with `seed`. `weight` is how
    much a learnt sample counts beside one of the source, as for `softmax`. Cost: N H (D + K) a step; memory N D
    and H D. Neither exact to merge nor to forget: it is refitted from the reservoir, and on few labels it is
    rarely better than the closed forms. Rumelhart et al. 1986.
    """
    if not (0 < width <= _WIDEST and 0 <= steps <= _MOST_STEPS and penalty >= 0):
        raise ValueError(
            f"width must be 1..{_WIDEST}, steps at most {_MOST_STEPS} and penalty not negative; got {width}, {steps}"
            f" and {penalty}"
        )
    rows, classes, codes, weights = training_set(reservoir, balanced, weight)
    dim, k = statistics.dim, len(classes)
    if k == 0:
        zeros = np.zeros(0)
        parts = (np.zeros((width, dim)), np.zeros(width), np.zeros((0, width)), zeros, np.zeros(dim), zeros)
        return PerceptronHead((), statistics.feature_space, *parts)
    shift, spread = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
    scaled = (rows - shift) / scale
    generator = np.random.Generator(np.random.PCG64(seed))
    start = np.concatenate(
        [
            generator.uniform(-1.0, 1.0, width * dim) * np.sqrt(3.0 / dim),
            np.zeros(width),
            generator.uniform(-1.0, 1.0, k * width) * np.sqrt(3.0 / width),
            np.zeros(k),
        ]
    )
    best, _ = minimise(
        lambda flat: loss_and_gradient(flat, scaled, codes, weights, width, k, penalty), start, 1e-6, steps
    )
    hidden, hidden_bias, output, output_bias = _parts(best, dim, width, k)
    counts = np.bincount(codes, minlength=k).astype(np.float64)
    return PerceptronHead(
        classes, statistics.feature_space, hidden / scale, hidden_bias, output, output_bias, shift, counts
    )


def loss_and_gradient(
    flat: Array, rows: Array, codes: NDArray[np.int64], weights: Array, width: int, k: int, penalty: float
) -> Tuple[float, Array]:
    """Loss and its gradient (P) at the flattened weights (P) for rows (N, D) of classes `codes` (N)."""
    count, dim = rows.shape
    hidden, hidden_bias, output, output_bias = _parts(flat, dim, width, k)
    active = np.tanh(rows @ hidden.T + hidden_bias)
    logs = log_softmax(active @ output.T + output_bias)
    loss = -float(weights @ logs[np.arange(count), codes]) / count
    loss += 0.5 * penalty * float((hidden**2).sum() + (output**2).sum())
    error = np.exp(logs)
    error[np.arange(count), codes] -= 1.0
    error *= weights[:, None] / count
    back = (error @ output) * (1.0 - active**2)
    parts = (
        back.T @ rows + penalty * hidden,
        back.sum(axis=0),
        error.T @ active + penalty * output,
        error.sum(axis=0),
    )
    return loss, np.concatenate([part.reshape(-1) for part in parts])


def _parts(flat: Array, dim: int, width: int, k: int) -> Tuple[Array, Array, Array, Array]:
    first, second, third = width * dim, width * dim + width, width * dim + width + k * width
    return (
        flat[:first].reshape(width, dim),
        flat[first:second],
        flat[second:third].reshape(k, width),
        flat[third:],
    )


def load(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> PerceptronHead:
    """The head of `state()` and `metadata()`; raises StatisticsError on anything else."""
    try:
        classes = tuple(checked_label(label) for label in metadata["classes"])
        if ordered_labels(classes) != classes or not metadata["temperature"] > 0:
            raise ValueError("classes are not distinct and in order, or the temperature is not positive")
        (width, dim), k = arrays["hidden"].shape, len(classes)
        shapes = {
            "hidden": (width, dim),
            "hidden_bias": (width,),
            "output": (k, width),
            "output_bias": (k,),
            "shift": (dim,),
            "counts": (k,),
        }
        if set(arrays) != set(shapes):
            raise ValueError(f"arrays must be {sorted(shapes)}")
        for name, shape in shapes.items():
            array = arrays[name]
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite float64 {shape}")
        kept = {name: np.array(arrays[name]) for name in shapes}
        return PerceptronHead(classes, metadata["feature_space"], temperature=metadata["temperature"], **kept)
    except (KeyError, TypeError, ValueError, LabelError) as error:
        raise StatisticsError(f"this is no mlp head: {error}") from error
