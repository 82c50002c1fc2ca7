"""What an adapter may see, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.maps import FeatureMap
from edgetl_runtime.drift.reference import Reference
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.statistics import Moments, Statistics
from edgetl_runtime.types import Label

__all__ = ["Adapted", "Adapter", "Situation"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Situation:
    """A head, where it comes from, and a bounded buffer of what the device sees without labels.

    `head` answers now, calibrated; `source` are the bundle's statistics; `rows` (N, D) float64 are unlabelled
    features in order of time. `reference` are held-out source samples, which label shift cannot do without.
    `labelled` (L, D) with `labels` (L) are what the device was taught, and `fit` makes the head of the source
    and of such samples, gone through a map first; without labels the head is used as it is.
    """

    head: Head
    source: Statistics
    rows: Array
    reference: Optional[Reference] = None
    labelled: Optional[Array] = None
    labels: Sequence[Label] = ()
    fit: Optional[Callable[[Array, Sequence[Label]], Head]] = None

    def taught(self, map: Optional[FeatureMap] = None) -> Array:
        """The labelled samples (L, D), gone through the map."""
        rows = np.zeros((0, self.source.dim)) if self.labelled is None else np.asarray(self.labelled, np.float64)
        return rows if map is None or len(rows) == 0 else map.apply(rows)

    def refitted(self, map: Optional[FeatureMap] = None) -> Head:
        """The head as it would be had the labelled samples come through the map."""
        if self.fit is None or len(self.labels) == 0:
            return self.head
        return self.fit(self.taught(map), self.labels)

    def moments(self) -> Moments:
        """Sums of the unlabelled rows about the source's shift."""
        result = Moments.zero(self.source.dim)
        result.add(self.rows - self.source.shift, np.ones(len(self.rows)))
        return result

    def source_priors(self) -> Array:
        """Mean calibrated probabilities (K) over held-out source samples; their class frequencies without any."""
        if self.reference is not None and len(self.reference.sight):
            return np.asarray(self.reference.sight.probabilities.mean(axis=0))
        counts: Dict[Label, float] = dict(zip(self.source.classes, (float(n) for n in self.source.counts)))
        share = np.array([counts.get(label, 0.0) for label in self.head.classes])
        return share / share.sum() if share.sum() > 0 else np.full(len(share), 1.0 / max(1, len(share)))


@dataclass(frozen=True)
class Adapted:
    """A challenger: the adapted head, the row of the table that made it, and what it was made of."""

    adapter: str
    head: Head
    evidence: Mapping[str, float] = field(default_factory=dict)


class Adapter(Protocol):
    """A row's function: pure, deterministic, changes nothing."""

    def __call__(self, situation: Situation, **options: Any) -> Adapted:
        """The challenger that follows from the situation."""
        ...
