"""The choice of a head by leave-one-out, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.heads import ncm, ridge, slda
from edgetl_runtime.heads.leave_one_out import loo_ncm, loo_ridge, loo_slda
from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.heads.protocol import Explanation, Head
from edgetl_runtime.labels import ordered_labels
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label

__all__ = ["ChosenHead", "fit"]

Array = NDArray[np.float64]
# More than this many samples make the estimate hardly better and the choice slow.
_MOST = 1000


@dataclass(frozen=True)
class ChosenHead:
    """The head that was chosen, `scores` of all candidates (class-balanced accuracy left out), and why."""

    head: Head
    scores: Dict[str, float]
    reason: str

    @property
    def name(self) -> str:
        """The row of the chosen head."""
        return self.head.name

    @property
    def classes(self) -> Tuple[Label, ...]:
        """K labels in order."""
        return self.head.classes

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        return self.head.feature_space

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K) of features (N, D)."""
        return self.head.decision(features)

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D); None where there is no class yet."""
        return self.head.predict(features)

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K) of features (N, D)."""
        return self.head.predict_proba(features)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why, for one sample (1, D); with the samples of a reservoir that are nearest to it."""
        return self.head.explain(features, reservoir)

    def with_temperature(self, temperature: float) -> ChosenHead:
        """The same decisions with other probabilities."""
        return replace(self, head=self.head.with_temperature(temperature))

    def state(self) -> Dict[str, Array]:
        """Named arrays of the chosen head."""
        return self.head.state()

    def metadata(self) -> Dict[str, Any]:
        """Metadata of the chosen head: it is loaded as what it is."""
        return self.head.metadata()


def fit(
    statistics: Statistics, prior: Optional[Statistics] = None, reservoir: Optional[Reservoir] = None
) -> ChosenHead:
    """`slda`, `ncm` or `ridge`: the one that says most of the reservoir's samples right, each left out.

    The samples must be in the statistics with weight 1. All candidates come from the same sums in closed
    form; accuracies are averaged over classes. `slda` stays unless another is better by a standard error of
    the paired difference: it was best on the mean of the real domain shifts. Without samples it is taken.
    """
    if reservoir is None or len(reservoir) == 0:
        return ChosenHead(slda.fit(statistics, prior), {}, "no stored samples to judge by: slda, the default")
    names = reservoir.labels.tolist()
    classes = ordered_labels([*statistics.classes, *(prior.classes if prior is not None else ())])
    index = {label: row for row, label in enumerate(classes)}
    known = [position for position, name in enumerate(names) if name in index][-_MOST:]
    rows, codes = reservoir.features[known], np.array([index[names[p]] for p in known], dtype=np.int64)
    decisions = {
        "slda": loo_slda(statistics, rows, codes, prior),
        "ncm": loo_ncm(statistics, rows, codes, prior),
        "ridge": loo_ridge(statistics, rows, codes, prior),
    }
    # Class-balanced: every class speaks with the same weight.
    weights = 1.0 / np.bincount(codes, minlength=len(classes))[codes]
    weights /= weights.sum()
    right = {name: (decision.argmax(axis=1) == codes).astype(np.float64) for name, decision in decisions.items()}
    scores = {name: float(weights @ hits) for name, hits in right.items()}
    best = "slda"
    for name in ("ridge", "ncm"):
        difference = right[name] - right["slda"]
        gain = float(weights @ difference)
        error = float(np.sqrt(weights**2 @ (difference - gain) ** 2))
        if gain > error and scores[name] > scores[best]:
            best = name
    told = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores.items())
    why = "the best" if best != "slda" else "no other is better by more than a standard error"
    fits: Dict[str, Callable[[Statistics, Optional[Statistics]], LinearHead]]
    fits = {"slda": slda.fit, "ncm": ncm.fit, "ridge": ridge.fit}
    head = fits[best](statistics, prior)
    return ChosenHead(head, scores, f"left out one by one, {len(codes)} samples: {told}; {best} is taken: {why}")
