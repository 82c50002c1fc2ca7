"""Nearest neighbours among the samples of a reservoir."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, StatisticsError
from edgetl_runtime.heads.linear import explained, labels_of
from edgetl_runtime.heads.protocol import Explanation
from edgetl_runtime.heads.softmax import training_set
from edgetl_runtime.labels import checked_label, ordered_labels
from edgetl_runtime.numerics import softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["NeighbourHead", "fit", "load"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NeighbourHead:
    """log of the sum of exp(cosine / width) over those of the `k` nearest stored rows (N, D) that are of a class.

    Rows are float16 features as a reservoir keeps them, compared about `shift` (D); `codes` (N) are their classes.
    """

    classes: Tuple[Label, ...]
    feature_space: Optional[str]
    rows: NDArray[np.float16]
    codes: Array
    shift: Array
    k: int
    width: float
    temperature: float = 1.0
    _directions: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_directions", _unit(self.rows.astype(np.float64) - self.shift))

    @property
    def name(self) -> str:
        """Its row in the table."""
        return "knn"

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K) of features (N, D); -60 for a class without a neighbour. O(N stored D)."""
        rows = _unit(np.asarray(checked_features(features, len(self.shift)), dtype=np.float64) - self.shift)
        result = np.zeros((len(rows), len(self.classes)))
        if not self.classes:
            return result
        cosines = rows @ self._directions.T
        near = np.argsort(-cosines, axis=1, kind="stable")[:, : self.k]
        weights = np.exp((np.take_along_axis(cosines, near, axis=1) - 1.0) / self.width)
        codes = self.codes.astype(np.int64)[near]
        for column in range(near.shape[1]):
            np.add.at(result, (np.arange(len(rows)), codes[:, column]), weights[:, column])
        return np.log(np.maximum(result, np.exp(-60.0)))

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return labels_of(self.classes, self.decision(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return softmax(self.decision(features) / self.temperature)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        near = () if reservoir is None else reservoir.nearest(features, self.k)
        decision = self.decision(features)
        counts = np.bincount(self.codes.astype(np.int64), minlength=len(self.classes)).astype(np.float64)
        return explained(self.classes, decision, softmax(decision / self.temperature), counts, near)

    def with_temperature(self, temperature: float) -> NeighbourHead:
        """The same decisions with other probabilities."""
        return replace(self, temperature=temperature)

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays of this head."""
        return {"rows": self.rows, "codes": self.codes, "shift": self.shift}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {
            "head": self.name,
            "classes": list(self.classes),
            "feature_space": self.feature_space,
            "k": self.k,
            "width": self.width,
            "temperature": self.temperature,
        }


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    reservoir: Optional[Reservoir] = None,
    k: int = 5,
    width: float = 0.1,
) -> NeighbourHead:
    """The `k` nearest samples of the reservoir by cosine, weighted by exp(cosine / `width`).

    Cosines are about the mean of the prior, of the statistics without one. Cost: nothing to fit, O(N D) to
    decide, with N bounded by the reservoir; memory 8 N D bytes, and 2 N D stored. Neither exact to merge nor to
    forget: it knows those samples that the reservoir holds. Assumes nothing about the shape of classes. Cover
    and Hart 1967.
    """
    if k < 1 or not width > 0:
        raise ValueError(f"k and width must be positive; got {k} and {width}")
    _, classes, codes, _ = training_set(reservoir, balanced=False)
    side = prior if prior is not None and prior.count else statistics
    moments = side.moments
    shift = side.shift + moments.sum / max(moments.count, 1.0)
    stored = np.zeros((0, statistics.dim), np.float16) if reservoir is None else reservoir.features.astype(np.float16)
    return NeighbourHead(classes, statistics.feature_space, stored, codes.astype(np.float64), shift, k, width)


def _unit(rows: Array) -> Array:
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    result: Array = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    return result


def load(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> NeighbourHead:
    """The head of `state()` and `metadata()`; raises StatisticsError on anything else."""
    try:
        classes = tuple(checked_label(label) for label in metadata["classes"])
        rows, codes, shift = (np.array(arrays[name]) for name in ("rows", "codes", "shift"))
        k, width, temperature = int(metadata["k"]), float(metadata["width"]), float(metadata["temperature"])
        whole = bool(((codes == np.floor(codes)) & (codes >= 0) & (codes < max(len(classes), 1))).all())
        fits = (
            ordered_labels(classes) == classes
            and [rows.dtype, codes.dtype, shift.dtype] == [np.float16, np.float64, np.float64]
            and all(np.isfinite(a).all() for a in (rows, codes, shift))
            and rows.shape == (len(codes), len(shift))
            and whole
            and k >= 1
            and min(width, temperature) > 0
            and len(arrays) == 3
        )
        if not fits:
            raise ValueError("its arrays do not fit its metadata")
        return NeighbourHead(classes, metadata["feature_space"], rows, codes, shift, k, width, temperature)
    except (KeyError, TypeError, ValueError, LabelError) as error:
        raise StatisticsError(f"this is no knn head: {error}") from error
