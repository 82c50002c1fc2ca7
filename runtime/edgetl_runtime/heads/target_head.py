"""A regressor in the shape of a head, so that all that keeps, compares and swaps heads does the same with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.protocol import Explanation
from edgetl_runtime.heads.regression import RegressionHead, Regressor, load_regression
from edgetl_runtime.heads.ridge_rp import ProjectedRegressor, load_targets
from edgetl_runtime.numerics import pack_symmetric, unpack_symmetric
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.types import Label

__all__ = ["TargetHead", "load_target_head", "target_head"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TargetHead:
    """Q real targets of features (N, D): no classes, and `decision` (N, Q) are the predicted values themselves.

    `spread` (Q) is the standard deviation of each target at the source: what an error is measured against. `share`
    says how far an anchored head went from the factory head to what was learnt, 0 to 1; None for another.
    """

    regressor: Union[RegressionHead, ProjectedRegressor]
    spread: Array
    share: Optional[float] = None

    @property
    def name(self) -> str:
        """Its row in the table."""
        return self.regressor.name

    @property
    def classes(self) -> Tuple[Label, ...]:
        """None."""
        return ()

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        return self.regressor.feature_space

    @property
    def dim(self) -> int:
        """D."""
        regressor = self.regressor
        return len(regressor.layer.shift if isinstance(regressor, ProjectedRegressor) else regressor.shift)

    def decision(self, features: ArrayLike) -> Array:
        """Values (N, Q) of features (N, D)."""
        return self.regressor.predict(features)

    def deviation(self, features: ArrayLike) -> Array:
        """Standard deviation (N, Q) of the error to expect; it grows away from what was learnt. O(D^2) a sample."""
        return np.sqrt(self.regressor.predict_variance(features))

    def distance(self, features: ArrayLike) -> Array:
        """Mahalanobis distance (N), squared, to all samples that the head knows; O(D^2) a sample."""
        return self.regressor.distance(features)

    def fitted_again(self, regressor: Regressor) -> TargetHead:
        """The head of another regressor for the same targets."""
        return target_head(regressor, self.spread)

    def losses(self, features: ArrayLike, targets: ArrayLike) -> Array:
        """Squared error (N), mean over Q, of features (N, D) with targets (N, Q), in variances at the source."""
        errors = (self.decision(features) - np.asarray(targets, dtype=np.float64)) / self.spread
        result: Array = np.mean(errors**2, axis=1)
        return result

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """None (N): there are no classes."""
        return np.full(len(self.decision(features)), None, dtype=object)

    def predict_proba(self, features: ArrayLike) -> Array:
        """Nothing (N, 0): there are no classes."""
        return np.zeros((len(self.decision(features)), 0))

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """The samples of a reservoir that are nearest to one sample (1, D)."""
        return Explanation(None, (), (), () if reservoir is None else reservoir.nearest(features))

    def with_temperature(self, temperature: float) -> TargetHead:
        """The same: there are no probabilities."""
        return self

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays of this head; of the symmetric ones a half."""
        state = dict(self.regressor.state())
        if state["inverse"].size:
            state["inverse"] = pack_symmetric(state["inverse"])
        return {**state, "spread": self.spread}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        anchored = {} if self.share is None else {"share": self.share}
        return {"head": self.name, "regressor": self.regressor.metadata(), **anchored}


def target_head(regressor: Regressor, spread: ArrayLike) -> TargetHead:
    """The head of a regressor whose targets (Q) have that standard deviation at the source."""
    if not isinstance(regressor, (RegressionHead, ProjectedRegressor)):
        raise TypeError(f"expected a regressor of `fit_regressor`; got {type(regressor).__name__}")
    inner = regressor.inner if isinstance(regressor, ProjectedRegressor) else regressor
    if inner.inverse.size:
        # As it will come back from its half: the other half is rounded a little otherwise.
        half = pack_symmetric(inner.inverse)
        inner = replace(inner, inverse=unpack_symmetric(half, len(inner.inverse)))
    whole = replace(regressor, inner=inner) if isinstance(regressor, ProjectedRegressor) else inner
    given = np.array(spread, dtype=np.float64)
    if given.shape != (len(inner.bias),) or not (np.isfinite(given).all() and (given > 0).all()):
        raise StatisticsError(f"the spread of {len(inner.bias)} targets must be as many positive numbers; got {given}")
    return TargetHead(whole, given)


def load_target_head(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> TargetHead:
    """The head of `state()` and `metadata()`; raises StatisticsError on anything else."""
    of, parts = metadata.get("regressor"), dict(arrays)
    share = metadata.get("share")
    if share is not None and not (isinstance(share, float) and 0.0 <= share <= 1.0):
        raise StatisticsError(f"the share of an anchored head must be a number from 0 to 1; got {share!r}")
    keys = set(metadata) - {"share"}
    if keys != {"head", "regressor"} or not isinstance(of, dict) or of.get("regressor") != metadata["head"]:
        raise StatisticsError("these are not the metadata of a head for targets")
    if not {"inverse", "centre", "spread"} <= set(parts) or parts["centre"].ndim != 1:
        raise StatisticsError("the arrays of a head for targets are missing")
    spread, half, side = parts.pop("spread"), parts["inverse"], len(parts["centre"])
    if spread.dtype != np.float64:
        raise StatisticsError(f"spread must be float64; got {spread.dtype}")
    if half.size:
        if half.dtype != np.float64 or half.shape != (side * (side + 1) // 2,):
            raise StatisticsError(f"inverse must be half of a symmetric float64 matrix of {side} rows")
        parts["inverse"] = unpack_symmetric(half, side)
    regressor = load_targets(parts, of) if "layer" in of else load_regression(parts, of)
    return replace(target_head(regressor, spread), share=share)
