"""The table of detectors: tests of a window against a reference, and watchers of a stream of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Protocol

import numpy as np

from edgetl_runtime.drift.adwin import Adwin
from edgetl_runtime.drift.page_hinkley import PageHinkley
from edgetl_runtime.drift.reference import Sight
from edgetl_runtime.drift.two_sample import TestOutcome, chi_square, hotelling, kolmogorov_smirnov, mmd

__all__ = ["DETECTORS", "WATCHERS", "DetectorRow", "Watcher", "WindowTest"]


class WindowTest(Protocol):
    """Compares a window with a reference; pure but for the generator, which only permutations draw from."""

    def __call__(self, reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
        """The statistic and its p-value."""
        ...


class Watcher(Protocol):
    """Watches a stream of numbers, one by one, in bounded memory."""

    def update(self, value: float) -> bool:
        """Take one value; True when the mean has moved."""
        ...

    @property
    def mean(self) -> float:
        """Mean of what it still holds to be one regime."""
        ...

    def state(self) -> Dict[str, Any]:
        """All that `restore` needs, as JSON has it."""
        ...

    def restore(self, state: Dict[str, Any]) -> None:
        """Go on from a `state()`."""
        ...


@dataclass(frozen=True)
class DetectorRow:
    """One test: what it looks at, what it is blind to, and whether the diagnosis uses it."""

    test: WindowTest
    sees: str
    blind: str
    diagnoses: bool = True


def _labels(reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
    return chi_square(reference.predicted, window.predicted, least=5.0)


def _probabilities(reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
    return kolmogorov_smirnov(reference.probabilities, window.probabilities)


def _features(reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
    return kolmogorov_smirnov(reference.features, window.features)


def _typicality(reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
    return kolmogorov_smirnov(reference.outliers[:, None], window.outliers[:, None])


def _means(reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
    return hotelling(reference.features, window.features)


def _kernel(reference: Sight, window: Sight, generator: np.random.Generator) -> TestOutcome:
    picks = [np.arange(len(side)) for side in (reference, window)]
    few = [generator.permutation(pick)[:200] for pick in picks]
    return mmd(reference.features[few[0]], window.features[few[1]], generator)


DETECTORS: Mapping[str, DetectorRow] = {
    "labels": DetectorRow(_labels, "predicted labels, chi-square", "whatever leaves the decisions as they are"),
    "probabilities": DetectorRow(_probabilities, "probabilities, KS and Bonferroni", "small changes of frequency"),
    "features": DetectorRow(_features, "features along their main directions, KS and Bonferroni", "other directions"),
    "typicality": DetectorRow(_typicality, "the outlier score, KS", "shifts from one known look to another"),
    "means": DetectorRow(_means, "means along the main directions, Hotelling", "spread, other directions"),
    "kernel": DetectorRow(_kernel, "joint features, MMD with permutations", "what 200 samples hide", False),
}

WATCHERS: Mapping[str, Callable[[], Watcher]] = {"adwin": Adwin, "page_hinkley": PageHinkley}
