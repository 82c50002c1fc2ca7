"""Does transfer help? Features as they were, those of the tuned network, and scratch, on the same held-out samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from edgetl_runtime.heads import HEADS, fit_head, fit_regressor
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

from edgetl.tuning.objective import score

__all__ = ["Comparison", "default_right", "head_scores", "plain_score", "warnings_of"]

MARGIN = 0.01


@dataclass(frozen=True)
class Comparison:
    """Scores on the `samples` held-out samples: share right (0..1), or R2 of numbers.

    `plain` is what needs no network: always the commonest class, or the mean. `frozen`, `tuned` and `scratch` are
    those of each closed-form head on the features before, after, and of the same network trained from random weights;
    the last is empty where it was not asked for. `own` is the linear head that the tuned network was trained with.
    Where there are several tasks, `alone` is the same recipe on this task only.
    """

    samples: int
    plain: float
    frozen: Mapping[str, float]
    tuned: Mapping[str, float] = field(default_factory=dict)
    scratch: Mapping[str, float] = field(default_factory=dict)
    alone: Mapping[str, float] = field(default_factory=dict)
    own: float | None = None
    warnings: tuple[str, ...] = ()


def head_scores(
    features: NDArray[np.float32], truth: NDArray[Any], held_features: NDArray[np.float32], held_truth: NDArray[Any]
) -> dict[str, float]:
    """By head: fitted on `features` (N, D) of the training samples, measured on those (M, D) that are held out."""
    statistics = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64))
    if truth.ndim == 2:
        statistics.add(features, targets=truth)
        regressor = fit_regressor("ridge", statistics)
        return {"ridge": score(held_truth, np.asarray(regressor.predict(held_features)))}
    statistics.add(features, truth)
    names = [name for name, row in HEADS.items() if row.exact and not row.projected]
    said = {name: np.asarray(fit_head(name, statistics).predict(held_features), np.int64) for name in names}
    return {name: score(held_truth, decided) for name, decided in said.items()}


def default_right(
    features: NDArray[np.float32], truth: NDArray[Any], held_features: NDArray[np.float32], held_truth: NDArray[Any]
) -> NDArray[np.float64]:
    """Of the default head of a bundle: 1 where it is right, else 0 (M); of numbers its R2 alone (1)."""
    if truth.ndim == 2:
        return np.array([head_scores(features, truth, held_features, held_truth)["ridge"]])
    statistics = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64))
    statistics.add(features, truth)
    said = np.asarray(fit_head("slda", statistics).predict(held_features), np.int64)
    return np.asarray(said == held_truth, np.float64)


def plain_score(truth: NDArray[Any], held_truth: NDArray[Any]) -> float:
    """Of always the commonest class of the training samples, or their mean."""
    if truth.ndim == 2:
        return score(held_truth, np.broadcast_to(truth.mean(axis=0), held_truth.shape))
    return float((held_truth == np.bincount(truth).argmax()).mean())


def warnings_of(compared: Comparison, trained: bool = True, task: str = "") -> tuple[str, ...]:
    """Where transfer hurts, by the default head of a bundle (slda, or ridge for numbers), by more than a point.

    `trained` says whether the network was trained from what was learnt elsewhere; `task` is named where there are
    several.
    """
    found: list[str] = []
    frozen, tuned, scratch = compared.frozen, compared.tuned if trained else {}, compared.scratch
    head = "slda" if "slda" in frozen else "ridge"
    one: Any = (lambda value: f"{100 * value:.1f} % right") if head == "slda" else (lambda value: f"R2 {value:.3f}")
    if tuned and tuned[head] < frozen[head] - MARGIN:
        found.append(
            f"training the network hurts here: {one(tuned[head])} after it, {one(frozen[head])} with the features as "
            "they were; build with the extractor as it was, or train less (fewer blocks, a lower rate)"
        )
    best = max(tuned.get(head, frozen[head]), frozen[head])
    if scratch and scratch[head] > best + MARGIN:
        found.append(
            f"what was learnt elsewhere hurts here: {one(scratch[head])} from random weights, {one(best)} with it; "
            "try another backbone (edgetl choose), or recipe 'scratch'"
        )
    if compared.alone and compared.tuned[head] < compared.alone[head] - MARGIN:
        found.append(
            f"the other tasks hurt here: {one(compared.tuned[head])} together, {one(compared.alone[head])} trained "
            "alone; train this task alone, or give it more weight (task_weights)"
        )
    return tuple(f"{task}: {text}" if task else text for text in found)
