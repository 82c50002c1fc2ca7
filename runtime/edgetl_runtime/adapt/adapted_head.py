"""A head behind a map of the features, or at other class frequencies: itself a head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.adapt.maps import FeatureMap
from edgetl_runtime.heads.linear import LinearHead, explained, labels_of
from edgetl_runtime.heads.protocol import Explanation, Head
from edgetl_runtime.numerics import softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.types import Label

__all__ = ["LINEAR", "AdaptedHead", "adapted_head"]

Array = NDArray[np.float64]

# What a linear head is called that no row of the table of heads would fit: nobody may refit or lend it.
LINEAR = "adapted_linear"


@dataclass(frozen=True)
class AdaptedHead:
    """decision = inner.decision(map(x)) + offset (K); for inner heads that cannot absorb both.

    Costs one product with the map a sample, O(D^2) where it is full, on top of the inner head.
    """

    inner: Head
    map: Optional[FeatureMap]
    offset: Array

    @property
    def name(self) -> str:
        """ "adapted"."""
        return "adapted"

    @property
    def classes(self) -> Tuple[Label, ...]:
        """Those of the inner head (K)."""
        return self.inner.classes

    @property
    def feature_space(self) -> Optional[str]:
        """Of the features before the map."""
        return self.inner.feature_space

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K) of features (N, D)."""
        return self.inner.decision(features if self.map is None else self.map.apply(features)) + self.offset

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return labels_of(self.classes, self.decision(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return softmax(self.decision(features) / float(self.inner.metadata().get("temperature", 1.0)))

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        near = () if reservoir is None else reservoir.nearest(features)
        counts = np.zeros(len(self.classes))
        return explained(self.classes, self.decision(features), self.predict_proba(features), counts, near)

    def with_temperature(self, temperature: float) -> AdaptedHead:
        """The same decisions with other probabilities."""
        return replace(self, inner=self.inner.with_temperature(temperature))

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays of the map and of the inner head."""
        arrays: Dict[str, NDArray[Any]] = {f"inner.{name}": array for name, array in self.inner.state().items()}
        if self.map is not None:
            arrays.update({f"map.{name}": array for name, array in self.map.state().items()})
        arrays["offset"] = self.offset
        return arrays

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {"head": self.name, "inner": self.inner.metadata()}


def adapted_head(head: Head, map: Optional[FeatureMap] = None, offset: Optional[Array] = None) -> Head:
    """The head that reads map(x) and adds `offset` (K) to the decision values.

    Linear heads absorb both, so that a sample costs N K D as before.
    """
    offset = np.zeros(len(head.classes)) if offset is None else np.asarray(offset, dtype=np.float64)
    if not isinstance(head, LinearHead) or (head.unit and map is not None):
        if isinstance(head, AdaptedHead) and map is None:
            return replace(head, offset=head.offset + offset)
        return AdaptedHead(head, map, offset)
    if map is None:
        return replace(head, name=LINEAR, bias=head.bias + offset)
    weights = head.weights * map.matrix if map.matrix.ndim == 1 else head.weights @ map.matrix.T
    bias = head.bias + head.weights @ (map.after - head.shift) + offset
    return replace(head, name=LINEAR, weights=weights, bias=bias, shift=map.before)
