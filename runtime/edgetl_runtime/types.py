"""Records that cross the borders between rooms. Frozen, plain, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple, Union

__all__ = ["Label", "Prediction", "TensorSpec"]

Label = Union[str, int]


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor of an extractor. `shape` is static; `dtype` is a NumPy name."""

    name: str
    dtype: str
    shape: Tuple[int, ...]


@dataclass(frozen=True)
class Prediction:
    """What the live head says of one sample.

    `outlier` is the relative Mahalanobis distance to the nearest class (larger: less like anything
    known); `generation` names the head that answered, 0 being the factory head of the bundle.
    """

    label: Optional[Label]
    probabilities: Dict[Label, float]
    outlier: float
    generation: int
    latency_ms: float
