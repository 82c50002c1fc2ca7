"""How much of what float32 decides a variant keeps: features, head accuracy, and agreement of decisions.

A held-out part of a few hundred samples cannot show half a point of accuracy, so the limits are judged by
cross-validation over training and held-out samples together: the head of each fold is fitted anew in both feature
spaces, and both answer the samples that neither saw. The difference is paired, and its standard error is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.heads import Head
from numpy.typing import NDArray

from edgetl.errors import QuantizeError
from edgetl.parity import compare, cosines
from edgetl.quantize.scoring import ClassScoring, Scoring

__all__ = ["FOLDS", "Fidelity", "Judge", "Limits", "signal_to_noise_db"]

FOLDS = 5
FitHead = Callable[[NDArray[np.float32], list[str]], Head]


@dataclass(frozen=True)
class Limits:
    """What a variant may cost: points of cross-validated head accuracy, and least agreement of decisions in %."""

    max_drop: float = 0.5
    min_agreement: float = 98.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.max_drop <= 100.0 and 0.0 <= self.min_agreement <= 100.0):
            raise QuantizeError(
                "limits are points and percent, 0 to 100; got a drop of"
                f" {self.max_drop} and an agreement of {self.min_agreement}"
            )


@dataclass(frozen=True)
class Fidelity:
    """A variant in an engine against float32, over `samples`: features, and decisions by cross-validation.

    `snr_db` is the power of the centred features over that of their error. `max_rel` is relative to the largest
    feature. Accuracies are shares (0..1): of the head on float32 features, and of a head of the variant's own; of
    numbers in place of classes it is R2. `drop` and `drop_error` (one standard error of the paired difference) are
    points, `agreement` is percent.
    """

    samples: int
    cosine_mean: float
    cosine_min: float
    max_abs: float
    max_rel: float
    snr_db: float
    float_accuracy: float
    accuracy: float
    drop: float
    drop_error: float
    agreement: float

    def holds(self, limits: Limits) -> bool:
        """Whether both limits hold as measured."""
        return self.drop <= limits.max_drop and self.agreement >= limits.min_agreement

    def words(self) -> str:
        """One clause for people."""
        return (
            f"{self.drop:.2f} points of accuracy lost (standard error {self.drop_error:.2f}) and"
            f" {self.agreement:.2f} % of decisions equal over {self.samples} cross-validated samples"
        )


def signal_to_noise_db(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Power of the centred reference features (N, D) over that of the error, in dB; 200 where there is no error."""
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    signal, noise = float(((a - a.mean(axis=0)) ** 2).sum()), float(((a - b) ** 2).sum())
    if not np.isfinite(noise):
        return -200.0
    if noise <= signal * 1e-20:
        return 200.0
    return float(np.clip(10 * np.log10(max(signal, 1e-300) / noise), -200.0, 200.0))


class Judge:
    """Holds float32 features (N, D) of the judged samples and their truth; says what another graph makes of them."""

    def __init__(
        self,
        reference: NDArray[np.float32],
        labels: Sequence[str],
        fit: FitHead,
        scoring: Scoring | None = None,
    ) -> None:
        if len(reference) != len(labels) or len(labels) < 2:
            raise QuantizeError(f"at least two labelled samples are needed to judge a variant; got {len(labels)}")
        self.reference = reference
        self._labels = list(labels)
        self._fit = fit
        self._scoring: Scoring = scoring or ClassScoring(self._labels)
        self._folds = _folds(self._labels)
        self._decided = self._cross_validated(reference, reference)

    def fidelity(self, features: NDArray[np.float32], served: NDArray[np.float32] | None = None) -> Fidelity:
        """Fidelity of features (N, D) of the same samples in the same order.

        `served`, where it is given, is what another engine makes of them: heads are fitted on `features`, as they
        will be in the bundle, and answer `served`. Raises QuantizeError for NaN or another shape.
        """
        answered = features if served is None else served
        for array in (features, answered):
            if array.shape != self.reference.shape or not np.isfinite(array).all():
                raise QuantizeError("the quantized graph gives NaN, infinite or wrongly shaped features")
        decided = self._cross_validated(features, answered)
        was, now = self._scoring.errors(self._decided), self._scoring.errors(decided)
        difference = now - was
        parity = compare(self.reference, answered)
        return Fidelity(
            samples=len(self._labels),
            cosine_mean=float(cosines(self.reference, answered).mean()),
            cosine_min=parity.cosine_min,
            max_abs=parity.max_abs,
            max_rel=parity.max_rel,
            snr_db=signal_to_noise_db(self.reference, answered),
            float_accuracy=1.0 - float(was.mean()),
            accuracy=1.0 - float(now.mean()),
            drop=100.0 * float(difference.mean()),
            drop_error=100.0 * float(difference.std() / np.sqrt(len(difference))),
            agreement=100.0 * float(self._scoring.equal(self._decided, decided).mean()),
        )

    def _cross_validated(self, fitted_on: NDArray[np.float32], answered: NDArray[np.float32]) -> NDArray[Any]:
        """What heads that did not see a sample say of it, a row each."""
        decided = self._scoring.empty()
        for fold in range(FOLDS):
            rest, asked = np.flatnonzero(self._folds != fold), np.flatnonzero(self._folds == fold)
            labels = [self._labels[i] for i in rest]
            if not len(asked):
                continue
            if len(set(labels)) < 2:
                raise QuantizeError("too few labelled samples to judge a variant: a fold is left with one class")
            decided[asked] = self._scoring.answers(self._fit(fitted_on[rest], labels), answered[asked])
        return decided


def _folds(labels: Sequence[str]) -> NDArray[np.int64]:
    """A fold (0..FOLDS-1) for each sample, every class spread over all of them."""
    folds = np.zeros(len(labels), np.int64)
    seen: dict[str, int] = {}
    for position in np.random.default_rng(0).permutation(len(labels)):
        label = labels[position]
        # Each class starts at another fold, so that small classes do not all fall into the first.
        folds[position] = seen.setdefault(label, len(seen)) % FOLDS
        seen[label] += 1
    return folds
