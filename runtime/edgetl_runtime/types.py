"""Records that cross the borders between rooms. Frozen, plain, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple, Union

__all__ = ["Label", "Output", "Prediction", "TensorSpec"]

Label = Union[str, int]


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor of an extractor. `shape` is static; `dtype` is a NumPy name."""

    name: str
    dtype: str
    shape: Tuple[int, ...]


@dataclass(frozen=True)
class Output:
    """One real number that a head gives: its name, its unit in words, and the range that it keeps to, if any."""

    name: str
    unit: str = ""
    low: Optional[float] = None
    high: Optional[float] = None


@dataclass(frozen=True)
class Prediction:
    """What the live head says of one sample.

    `outlier` is the relative Mahalanobis distance to the nearest class (larger: less like anything
    known); `generation` names the head that answered, 0 being the factory head of the bundle. A head for real
    numbers has no `label`: it gives `values` by the name of the output, in its range, the standard `deviations`
    of the errors to expect, and as `outlier` the Mahalanobis distance to all that it knows.
    """

    label: Optional[Label]
    probabilities: Dict[Label, float]
    outlier: float
    generation: int
    latency_ms: float
    values: Dict[str, float] = field(default_factory=dict)
    deviations: Dict[str, float] = field(default_factory=dict)
