"""What every classification head offers, and the record in which it explains itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Protocol, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.reservoir import Neighbour, Reservoir
from edgetl_runtime.types import Label

__all__ = ["Evidence", "Explanation", "Head"]


@dataclass(frozen=True)
class Evidence:
    """How one class fares for one sample: its decision value, its probability, the weight of its samples."""

    label: Label
    decision: float
    probability: float
    count: float


@dataclass(frozen=True)
class Explanation:
    """Why a head decided as it did on one sample; the most probable class comes first.

    `runner_up_features` are the indices of the features that spoke most for the winner against the second,
    with their share of the difference of the two decision values; empty where the head is not linear.
    `neighbours` are stored samples by cosine, the nearest first; empty without a reservoir.
    """

    label: Optional[Label]
    evidence: Tuple[Evidence, ...]
    runner_up_features: Tuple[Tuple[int, float], ...] = ()
    neighbours: Tuple[Neighbour, ...] = ()


class Head(Protocol):
    """A fitted map from features (N, D) to K classes. Immutable: learning makes a new one.

    `decision` is larger for the likelier class; values of two heads are not comparable.
    """

    @property
    def name(self) -> str:
        """Its row in the table."""
        ...

    @property
    def classes(self) -> Tuple[Label, ...]:
        """K labels: integers by size, then strings."""
        ...

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        ...

    def decision(self, features: ArrayLike) -> NDArray[np.float64]:
        """Decision values (N, K) of features (N, D)."""
        ...

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        ...

    def predict_proba(self, features: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (N, K) of features (N, D)."""
        ...

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        ...

    def with_temperature(self, temperature: float) -> Head:
        """The same decisions; probabilities are those of decision / temperature."""
        ...

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays from which, with `metadata()`, `load_head` makes the same head bit for bit."""
        ...

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        ...
