"""Likely wrong labels: what a head that never saw the sample says of the label that it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from edgetl_runtime.heads.leave_one_out import loo_slda
from edgetl_runtime.labels import ordered_labels
from edgetl_runtime.numerics import log_softmax
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label
from numpy.typing import NDArray

from edgetl.checking.duplicates import CopyGroup
from edgetl.checking.facts import HELD_OUT, TRAINING, Facts, Sample
from edgetl.progress import Progress, Step

__all__ = ["LIMIT", "Suspect", "fitted_noise", "suspects"]

LIMIT = 0.01
_CHUNK = 4096
_SHARES = (1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)


@dataclass(frozen=True)
class Suspect:
    """A sample whose label has that posterior, left out of what it is judged by, and the class that is likelier."""

    sample: Sample
    posterior: float
    likelier: Label
    likelier_posterior: float


def suspects(
    facts: Facts, groups: Iterable[CopyGroup], progress: Progress, limit: float = LIMIT
) -> tuple[list[Suspect], int]:
    """Samples whose leave-one-out posterior of their own label is below `limit`, the least likely first; and how many
    were judged.

    SLDA on the features of training and held-out samples, each left out exactly (`loo_slda`). Posteriors are at the
    temperature that explains the labels best if a share of them is arbitrary (`fitted_noise`): uncalibrated every
    error is certain, and a temperature fitted without that share explains the wrong labels away. Of copies
    with one label only one speaks, else a wrong label would vouch for its copy. Classes of one sample are not judged.
    O(N D^2 + D^3). Leaving one out to find label errors: Northcutt et al. 2021 (confident learning) by folds.
    """
    features = facts.features
    if features is None:
        return [], 0
    own = np.isin(facts.splits, [facts.split_names.index(name) for name in (TRAINING, HELD_OUT)])
    for group in groups:
        kept: set[Label] = set()
        for member in group.members:
            if member.label in kept and group.kind != "alike features":
                own[member.row] = False
            kept.add(member.label)
    rows = np.flatnonzero(own)
    classes = ordered_labels(tuple(facts.labels[row] for row in rows))
    code = {label: number for number, label in enumerate(classes)}
    codes = np.array([code[facts.labels[row]] for row in rows], np.int64)
    counts = np.bincount(codes, minlength=len(classes))
    if len(classes) < 2 or (counts < 2).all():
        return [], 0
    statistics = Statistics(features.shape[1], features[rows].mean(axis=0, dtype=np.float64))
    statistics.add(features[rows], [facts.labels[row] for row in rows])
    judged = np.flatnonzero(counts[codes] >= 2)
    decisions = []
    for start in range(0, len(judged), _CHUNK):
        progress(Step("judging the labels", start, len(judged)))
        some = judged[start : start + _CHUNK]
        decisions.append(loo_slda(statistics, features[rows[some]], codes[some]))
    progress(Step("judging the labels", len(judged), len(judged)))
    decision = np.concatenate(decisions)
    temperature, _ = fitted_noise(decision, codes[judged])
    posterior = np.exp(log_softmax(decision / temperature))
    return _least_likely(facts, posterior, rows[judged], codes[judged], classes, limit), len(judged)


def fitted_noise(decision: NDArray[np.float64], codes: NDArray[np.int64], most: int = 5000) -> tuple[float, float]:
    """Temperature T and share e of arbitrary labels of the greatest likelihood of classes `codes` (N): each has the
    probability (1 - e) softmax(decision / T) + e / K.

    On a grid, of at most `most` samples, evenly spread. Guo et al. 2017 without e; the model of noise is the uniform
    one of Angluin and Laird 1988.
    """
    rows = np.arange(0, len(codes), -(-len(codes) // most))
    some, own, k = decision[rows], codes[rows], decision.shape[1]
    # A class of which nothing is left has no finite value; the scale is that of the others.
    scale = float(np.std(some[np.isfinite(some)])) or 1.0
    best = (-np.inf, scale, 0.0)
    for temperature in scale * np.exp(np.linspace(-7.0, 2.0, 73)):
        right = np.exp(log_softmax(some / temperature)[np.arange(len(own)), own])
        for share in _SHARES:
            likelihood = float(np.log(np.maximum((1.0 - share) * right + share / k, 1e-300)).mean())
            best = max(best, (likelihood, float(temperature), share))
    return best[1], best[2]


def _least_likely(
    facts: Facts,
    posterior: NDArray[np.float64],
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    classes: tuple[Label, ...],
    limit: float,
) -> list[Suspect]:
    given = posterior[np.arange(len(codes)), codes]
    best = posterior.argmax(axis=1)
    return [
        Suspect(facts.sample(rows[i]), float(given[i]), classes[best[i]], float(posterior[i, best[i]]))
        for i in np.argsort(given, kind="stable")
        if given[i] < limit and best[i] != codes[i]
    ]
