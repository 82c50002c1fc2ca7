"""What a build does otherwise where a head gives numbers in place of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet
from edgetl_runtime.heads import Head, TargetHead
from edgetl_runtime.types import Output
from numpy.typing import NDArray

from edgetl.extraction import ExtractedPart
from edgetl.parity import decisions_agreed

__all__ = ["OutputError", "answers_agreed", "golden_of_numbers", "guard_of_numbers", "numbers_agreed", "output_errors"]

_GUARD_SAMPLES = 200
_SHARE_OF_ERROR = 0.1


@dataclass(frozen=True)
class OutputError:
    """How far off one output is on held-out samples: root mean squares, of always saying the training mean beside it.

    `deviation` is the mean of what the head says of its own error.
    """

    output: Output
    rmse: float
    rmse_of_mean: float
    r2: float
    deviation: float


def output_errors(
    head: TargetHead, outputs: tuple[Output, ...], training: ExtractedPart, held_out: ExtractedPart
) -> tuple[OutputError, ...]:
    """One record an output; () when nothing was held out."""
    if not held_out.labels:
        return ()
    truth, mean = held_out.targets(len(outputs)), training.targets(len(outputs)).mean(axis=0)
    errors = head.decision(held_out.features) - truth
    deviation = head.deviation(held_out.features).mean(axis=0)
    about = np.sum((truth - truth.mean(axis=0)) ** 2, axis=0)
    r2 = 1.0 - np.sum(errors**2, axis=0) / np.where(about > 0, about, np.nan)
    return tuple(
        OutputError(output, _rms(errors[:, q]), _rms(truth[:, q] - mean[q]), float(r2[q]), float(deviation[q]))
        for q, output in enumerate(outputs)
    )


def numbers_agreed(head: TargetHead, first: NDArray[Any], second: NDArray[Any]) -> float:
    """Share of samples (N, D) whose numbers differ by less than a tenth of the error that the head has anyway."""
    off = np.abs(head.decision(first) - head.decision(second)) / head.deviation(first)
    return float((off < _SHARE_OF_ERROR).all(axis=1).mean())


def answers_agreed(head: Head, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Share (0..1) of samples (N, D) whose answers are the same for both features, classes or numbers."""
    if isinstance(head, TargetHead):
        return numbers_agreed(head, first, second)
    return decisions_agreed(list(head.predict(first)), list(head.predict(second)))


def golden_of_numbers(
    variant: str, frames: list[NDArray[Any]], features: NDArray[np.float32], count: int
) -> GoldenSamples:
    """Up to `count` frames spread over all; what the head says of them follows from their features (N, D)."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int)).tolist()
    zeros = np.zeros(len(chosen), np.int64)
    return GoldenSamples(tuple(frames[i] for i in chosen), {variant: features[chosen]}, zeros)


def guard_of_numbers(variant: str, held_out: ExtractedPart, outputs: tuple[Output, ...]) -> GuardSet:
    """Samples spread over the held-out part, on which a device sees what learning costs the source."""
    count = min(len(held_out.labels), _GUARD_SAMPLES)
    rows = np.linspace(0, len(held_out.labels) - 1, count).round().astype(int)
    targets = held_out.targets(len(outputs))[rows]
    return GuardSet({variant: held_out.features[rows]}, np.zeros(count, np.int64), targets)


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
