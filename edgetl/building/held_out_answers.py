"""What a factory head says of every held-out sample, and how far its probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgetl_runtime.heads import Head, TargetHead
from edgetl_runtime.heads.calibration import fitted_temperature
from edgetl_runtime.numerics import log_softmax
from numpy.typing import NDArray

from edgetl.extraction import ExtractedPart

__all__ = [
    "Answers", "NumberAnswers", "ReliabilityBin", "answers_of", "calibration_error", "chance_error", "reliability",
]  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """Of N held-out samples, a row each; a class is its position in the K classes of the bundle.

    `indices` (N) name the samples to the reader of the dataset, and are empty where they are not known. `probability`
    (N) is that of the class which was `said` (N), `of_truth` (N) that of the `truth` (N). The temperature of the head
    was fitted on these very samples; `crossed` (N) is the probability of the same answer with one that was fitted on
    the other half of them, which flatters nobody.
    """

    indices: tuple[int, ...]
    truth: NDArray[np.int64]
    said: NDArray[np.int64]
    probability: NDArray[np.float64]
    of_truth: NDArray[np.float64]
    crossed: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which answers (N) are right."""
        result: NDArray[np.bool_] = self.truth == self.said
        return result


@dataclass(frozen=True)
class NumberAnswers:
    """Of N held-out samples in the order of time: `truth`, `said` and `deviation`, the error to expect, all (N, Q)."""

    indices: tuple[int, ...]
    truth: NDArray[np.float64]
    said: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBin:
    """`count` answers whose probability is above `low` and at most `high`: the mean of it, and the share right."""

    low: float
    high: float
    count: int
    confidence: float
    right: float


def answers_of(head: Head, held_out: ExtractedPart, classes: Sequence[str]) -> Answers | NumberAnswers | None:
    """None where nothing is held out; samples of classes that the head has not are left out."""
    if not held_out.labels:
        return None
    if isinstance(head, TargetHead):
        said = head.decision(held_out.features)
        truth = held_out.targets(said.shape[1])
        return NumberAnswers(tuple(held_out.indices), truth, said, head.deviation(held_out.features))
    known = [row for row, label in enumerate(held_out.labels) if label in classes]
    if not known:
        return None
    position = {label: place for place, label in enumerate(classes)}
    order = [position[str(label)] for label in head.classes]
    features = held_out.features[known]
    shares, decision = np.empty((len(known), len(classes))), np.empty((len(known), len(classes)))
    shares[:, order], decision[:, order] = head.predict_proba(features), head.decision(features)
    truth_codes = np.array([position[held_out.labels[row]] for row in known], np.int64)
    said_codes = np.array([position[str(label)] for label in head.predict(features)], np.int64)
    rows = np.arange(len(known))
    return Answers(
        tuple(held_out.indices[row] for row in known) if held_out.indices else (), truth_codes, said_codes,
        shares[rows, said_codes], shares[rows, truth_codes], _crossed(decision, truth_codes)[rows, said_codes],
    )  # fmt: skip


def reliability(probability: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> list[ReliabilityBin]:
    """Answers (N) in `bins` of equal width, those without an answer left out (DeGroot and Fienberg 1983)."""
    place = np.clip(np.ceil(probability * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for number in range(bins):
        inside = place == number
        if inside.any():
            shares = float(probability[inside].mean()), float(right[inside].mean())
            found.append(ReliabilityBin(number / bins, (number + 1) / bins, int(inside.sum()), *shares))
    return found


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """ECE: how far probability and share right are apart, in the mean over all answers (Guo et al. 2017)."""
    count = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.right) for one in bins) / max(count, 1)


def chance_error(probability: NDArray[np.float64], draws: int = 200) -> float:
    """The ECE that 95 % of `draws` stay below when answers (N) are right exactly as often as they say, by chance."""
    generator = np.random.default_rng(0)
    errors = [
        calibration_error(reliability(probability, generator.random(len(probability)) < probability))
        for _ in range(draws)
    ]
    return float(np.quantile(errors, 0.95))


def _crossed(decision: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities (N, K) of each half by the temperature of the other; halves hold every other sample of a class."""
    half = np.zeros(len(codes), np.int64)
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        half[members] = (np.arange(len(members)) + code) % 2
    shares = np.empty_like(decision)
    for one in (0, 1):
        fitted, asked = half != one, half == one
        temperature = fitted_temperature(decision[fitted], codes[fitted]) if fitted.any() else 1.0
        shares[asked] = np.exp(log_softmax(decision[asked] / temperature))
    return shares
