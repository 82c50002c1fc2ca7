"""From the pattern of several tests to the kind of the shift. A diagnosis changes nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.drift.distributions import binomial_sf
from edgetl_runtime.drift.priors import estimated_priors
from edgetl_runtime.drift.reference import Reference, Sight
from edgetl_runtime.drift.table import DETECTORS
from edgetl_runtime.drift.thinning import independent_gap, thinned
from edgetl_runtime.drift.two_sample import TestOutcome, hotelling, kolmogorov_smirnov

__all__ = ["KINDS", "Diagnosis", "diagnose"]

Array = NDArray[np.float64]

KINDS: Mapping[str, str] = {
    "none": "nothing has changed that these samples could show",
    "label shift": "the classes come in other frequencies; each class looks as it did",
    "covariate shift": "the samples themselves look different",
    "confidence only": "the same decisions with other confidence",
    "new class": "most is as before, but some samples are like nothing known",
    "sensor fault": "the samples hardly vary any more, or not at all",
}


@dataclass(frozen=True)
class Diagnosis:
    """The kind of shift (a key of KINDS), and what it was read from.

    `samples` of the window are worth `independent` ones, `gap` apart. `priors` (K) are the class frequencies
    if nothing else has changed. `outcomes` are the tests by name.
    """

    kind: str
    why: str
    samples: int
    independent: int
    gap: int
    outcomes: Mapping[str, TestOutcome] = field(default_factory=dict)
    priors: Optional[Array] = None


def diagnose(
    reference: Reference, sight: Sight, alpha: float = 0.05, least: int = 20, outlier_quantile: float = 0.95
) -> Diagnosis:
    """What changed between the reference and a window of N samples in order of time.

    The window is thinned until its samples are as good as independent. Five tests share `alpha` (Bonferroni),
    so that at most that share of windows in which nothing changed is called anything but "none": chi-square on
    predicted labels, Kolmogorov-Smirnov on probabilities, on features and on the outlier score (which sees the
    directions that the few features leave out), Hotelling on features. If one of them fires, it is asked
    whether other class frequencies explain it: the reference is weighted to the estimated ones and tested
    again. With fewer than `least` independent samples the answer is "none". O(N (R + K) log N) beside the
    projections. Rabanser et al. 2019; Lipton et al. 2018.
    """
    gap = independent_gap(_varying(sight)) if len(sight) else 1
    rows = thinned(len(sight), gap)
    window, count = sight.taken(rows), len(rows)
    fault = _fault(reference, sight)
    if fault:
        return Diagnosis("sensor fault", fault, len(sight), count, gap)
    if count < least:
        why = f"{len(sight)} samples are worth {count} independent ones; {least} are needed"
        return Diagnosis("none", why, len(sight), count, gap)
    old = reference.sight
    # None of these tests draws; MMD, which does, is left out as it costs permutations.
    generator = np.random.Generator(np.random.PCG64(0))
    outcomes = {name: row.test(old, window, generator) for name, row in DETECTORS.items() if row.diagnoses}
    level = alpha / len(outcomes)
    fired = [name for name, outcome in outcomes.items() if outcome.p_value < level]
    priors = estimated_priors(old.probabilities.mean(axis=0), window.probabilities)

    def verdict(kind: str, why: str) -> Diagnosis:
        return Diagnosis(kind, why, len(sight), count, gap, outcomes, priors)

    if not fired:
        return verdict("none", f"no test fires in {count} independent samples")
    unknown = _unknown_share(old, window, outlier_quantile)
    outcomes["unknown"] = unknown
    if unknown.p_value < level:
        body = _body(old, window, outlier_quantile)
        if body is not None and body.p_value >= level:
            outcomes["body"] = body
            return verdict(
                "new class", f"{100 * unknown.statistic:.0f} % are like nothing known, the others are as before"
            )
    if set(fired) == {"probabilities"}:
        return verdict("confidence only", "only the probabilities differ; features and predicted classes do not")
    explained = _explained(reference, window, priors)
    outcomes["explained"] = explained
    if explained.p_value >= alpha:
        return verdict("label shift", f"{', '.join(fired)} differ, and other class frequencies explain it all")
    return verdict("covariate shift", f"{', '.join(fired)} differ, and other class frequencies do not explain it")


def _varying(sight: Sight) -> Array:
    confidence = sight.probabilities.max(axis=1, initial=0.0)
    return np.concatenate([sight.features, confidence[:, None]], axis=1)


def _fault(reference: Reference, sight: Sight) -> str:
    if len(sight) < 2:
        return ""
    before = float(reference.sight.features.var(axis=0).sum())
    now = float(sight.features.var(axis=0).sum())
    if now <= 1e-6 * before:
        return f"{len(sight)} samples are all the same"
    return ""


def _unknown_share(old: Sight, window: Sight, quantile: float) -> TestOutcome:
    """Share of the window beyond the reference's quantile, and its chance."""
    threshold = float(np.quantile(old.outliers, quantile))
    beyond = int((window.outliers > threshold).sum())
    # The threshold is itself estimated; an upper bound of what lies beyond it keeps the promise.
    chance = 1.0 - quantile
    chance += 2.0 * float(np.sqrt(chance * quantile / max(1, len(old))))
    return TestOutcome(beyond / len(window), binomial_sf(beyond, len(window), chance))


def _body(old: Sight, window: Sight, quantile: float) -> Optional[TestOutcome]:
    """Whether what is left without the unknown ones differs."""
    threshold = float(np.quantile(old.outliers, quantile))
    before, now = old.taken(np.flatnonzero(old.outliers <= threshold)), window.taken(
        np.flatnonzero(window.outliers <= threshold)
    )
    if len(now) < 10 or len(now) < 0.3 * len(window):
        return None
    pair = (kolmogorov_smirnov(before.features, now.features), hotelling(before.features, now.features))
    return min(pair, key=lambda outcome: outcome.p_value)


def _explained(reference: Reference, window: Sight, priors: Array) -> TestOutcome:
    """The least p-value, corrected for their number, of the tests against the reference at other frequencies."""
    old, truth = reference.sight, reference.truth
    source = old.probabilities.mean(axis=0)
    weights = np.where(truth >= 0, (priors / np.maximum(source, 1e-12))[truth], 0.0)
    if not weights.sum() > 0:
        return TestOutcome(0.0, 0.0)
    outcomes = (
        kolmogorov_smirnov(old.features, window.features, weights),
        kolmogorov_smirnov(old.probabilities, window.probabilities, weights),
        kolmogorov_smirnov(old.outliers[:, None], window.outliers[:, None], weights),
        hotelling(old.features, window.features, weights),
    )
    worst = min(outcomes, key=lambda outcome: outcome.p_value)
    return TestOutcome(worst.statistic, min(1.0, len(outcomes) * worst.p_value))
