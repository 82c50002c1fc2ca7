"""Ridge regression behind a random ReLU layer: closed form, exact, and not linear in the feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads import ridge
from edgetl_runtime.heads.linear import LinearHead, explained, load_linear
from edgetl_runtime.heads.protocol import Explanation
from edgetl_runtime.heads.random_layer import RandomReLU
from edgetl_runtime.heads.regression import RegressionHead, load_regression
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label

__all__ = ["ProjectedHead", "ProjectedRegressor", "fit", "fit_targets", "load", "load_targets"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProjectedHead:
    """A linear head on the features (N, M) that `layer` makes of features (N, D)."""

    layer: RandomReLU
    inner: LinearHead

    @property
    def name(self) -> str:
        """Its row in the table."""
        return "ridge_rp"

    @property
    def classes(self) -> Tuple[Label, ...]:
        """K labels in order."""
        return self.inner.classes

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        return self.inner.feature_space

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K) of features (N, D)."""
        return self.inner.decision(self.layer.apply(features))

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return self.inner.predict(self.layer.apply(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return self.inner.predict_proba(self.layer.apply(features))

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        near = () if reservoir is None else reservoir.nearest(features)
        decision, probabilities = self.decision(features), self.predict_proba(features)
        return explained(self.classes, decision, probabilities, self.inner.counts, near)

    def with_temperature(self, temperature: float) -> ProjectedHead:
        """The same decisions with other probabilities."""
        return ProjectedHead(self.layer, self.inner.with_temperature(temperature))

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        return {**self.inner.state(), **self.layer.state()}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {**self.inner.metadata(), "head": self.name, "layer": self.layer.metadata()}


@dataclass(frozen=True)
class ProjectedRegressor:
    """A regression head on the features (N, M) that `layer` makes of features (N, D)."""

    layer: RandomReLU
    inner: RegressionHead

    @property
    def name(self) -> str:
        """Its row in the table."""
        return "ridge_rp"

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        return self.inner.feature_space

    def predict(self, features: ArrayLike) -> Array:
        """Targets (N, Q) of features (N, D)."""
        return self.inner.predict(self.layer.apply(features))

    def predict_variance(self, features: ArrayLike) -> Array:
        """Variance (N, Q) of the error to expect."""
        return self.inner.predict_variance(self.layer.apply(features))

    def distance(self, features: ArrayLike) -> Array:
        """Mahalanobis distance (N), squared, behind the layer."""
        return self.inner.distance(self.layer.apply(features))

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        return {**self.inner.state(), **self.layer.state()}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        return {**self.inner.metadata(), "regressor": self.name, "layer": self.layer.metadata()}


def fit(
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    layer: Optional[RandomReLU] = None,
    penalty: Union[str, float] = "gcv",
    penalties: Optional[Sequence[float]] = None,
    balanced: bool = False,
    weight: Optional[float] = None,
) -> ProjectedHead:
    """Ridge on one-hot classes from statistics of *projected* features: `statistics.add(layer.apply(x), y)`.

    `layer` comes from `random_layer`; the other options are those of the `ridge` head. Cost: O(D M + M^2 / 2) a
    sample, O(10 M^3) to fit with "gcv", O(D M + K M) to decide; memory 8 M^2. Exact to merge, to forget and
    in any order, among statistics of the same layer. Sensitive to the scale of features, which the layer
    standardises. McDonnell et al. 2023 (RanPAC).
    """
    known = _checked(layer, statistics)
    return ProjectedHead(known, ridge.fit(statistics, prior, penalty, penalties, balanced, weight))


def fit_targets(
    statistics: Statistics, prior: Optional[Statistics] = None, layer: Optional[RandomReLU] = None, **options: Any
) -> ProjectedRegressor:
    """The same for targets (Q); `options` are those of the `ridge` regressor."""
    return ProjectedRegressor(_checked(layer, statistics), ridge.fit_targets(statistics, prior, **options))


def load(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> ProjectedHead:
    """The head of `state()` and `metadata()`; raises StatisticsError on anything else."""
    return ProjectedHead(*_split(arrays, metadata, load_linear))


def load_targets(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> ProjectedRegressor:
    """The regressor of `state()` and `metadata()`; raises StatisticsError on anything else."""
    return ProjectedRegressor(*_split(arrays, metadata, load_regression))


def _split(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], loader: Any) -> Tuple[RandomReLU, Any]:
    if not isinstance(metadata.get("layer"), dict):
        raise StatisticsError("the metadata of a head behind a random layer names no layer")
    inner_arrays = {name: array for name, array in arrays.items() if not name.startswith("layer_")}
    inner = loader(inner_arrays, {key: value for key, value in metadata.items() if key != "layer"})
    # Before the layer is made: its size comes from arrays that are there, not from a number that somebody wrote.
    if metadata["layer"].get("width") != len(inner.shift):
        raise StatisticsError(f"the head takes {len(inner.shift)} features, the layer makes others")
    layer = RandomReLU.from_state(arrays, metadata["layer"])
    return layer, inner


def _checked(layer: Optional[RandomReLU], statistics: Statistics) -> RandomReLU:
    if layer is None or layer.width != statistics.dim:
        width = None if layer is None else layer.width
        raise StatisticsError(
            f"ridge_rp takes statistics of layer.apply(features) and that layer; statistics have D={statistics.dim},"
            f" the layer makes {width}"
        )
    return layer
