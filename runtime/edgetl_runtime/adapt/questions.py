"""Which unlabelled samples are worth a person's answer, chosen so that the answers can still be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["QuestionBudget", "Questions", "choose_questions", "estimated_mean"]

Array = NDArray[np.float64]

_DAY_S = 86400.0


@dataclass(frozen=True)
class Questions:
    """Positions (B) of the chosen samples, and the chance (N) that each of all samples had to be chosen."""

    rows: NDArray[np.int64]
    chances: Array


def choose_questions(
    probabilities: Array,
    features: ArrayLike,
    budget: int,
    generator: np.random.Generator,
    explore: float = 0.2,
    shortlist: int = 4,
) -> Questions:
    """`budget` of N samples: those of least margin, spread over feature space, the rest at random.

    The `shortlist` x budget samples of least margin p1 - p2 share 1 - `explore` of the chance, all samples the
    rest; k-centres of the shortlist put neighbours side by side and a systematic draw then takes no two of
    them. Every sample has a known chance above zero, so `estimated_mean` of the answers is unbiased, which a
    plain choice of the least margins is not. O(N K + B^2 `shortlist` D). Tille 2006 (systematic sampling);
    Sener and Savarese 2018 (k-centres).
    """
    count = len(probabilities)
    budget = min(int(budget), count)
    if budget < 1:
        return Questions(np.zeros(0, np.int64), np.zeros(count))
    if not 0 < explore <= 1:
        raise ValueError(f"explore must be in (0, 1], or some samples could never be asked about; got {explore}")
    rows = np.asarray(features, dtype=np.float64)
    margin = np.ones(count)
    if probabilities.shape[1] > 1:
        two = np.partition(probabilities, -2, axis=1)[:, -2:]
        margin = two[:, 1] - two[:, 0]
    listed = np.argsort(margin, kind="stable")[: min(count, shortlist * budget)]
    chances = np.full(count, explore * budget / count)
    chances[listed] += (1.0 - explore) * budget / len(listed)
    chances = np.minimum(chances, 1.0)
    order = np.concatenate([listed[_by_centre(rows[listed], budget)], np.setdiff1d(np.arange(count), listed)])
    return Questions(_systematic(order, chances, generator), chances)


def estimated_mean(values: ArrayLike, chances: ArrayLike) -> float:
    """Mean over all samples from those that were chosen: Hajek's form of the Horvitz-Thompson estimate.

    `values` (B) and `chances` (B) of the chosen ones, as when each was right (1) or wrong (0).
    """
    weights = 1.0 / np.asarray(chances, dtype=np.float64)
    return float(weights @ np.asarray(values, dtype=np.float64) / weights.sum())


def _by_centre(rows: Array, centres: int) -> NDArray[np.int64]:
    """Order (N) in which samples of one of the greedy k-centres stand side by side, the first centre first."""
    nearest = np.zeros(len(rows), dtype=np.int64)
    distance = ((rows - rows[0]) ** 2).sum(axis=1)
    for centre in range(1, min(centres, len(rows))):
        farthest = int(np.argmax(distance))
        gap = ((rows - rows[farthest]) ** 2).sum(axis=1)
        closer = gap < distance
        nearest[closer], distance[closer] = centre, gap[closer]
    return np.argsort(nearest, kind="stable")


def _systematic(order: NDArray[np.int64], chances: Array, generator: np.random.Generator) -> NDArray[np.int64]:
    """One draw in which each sample has exactly its chance: every whole number crossed by the running sum."""
    sums = np.cumsum(chances[order]) + generator.random()
    before = np.concatenate([[sums[0] - chances[order[0]]], sums[:-1]])
    return np.asarray(order[np.floor(sums) > np.floor(before)], dtype=np.int64)


class QuestionBudget:
    """At most `per_day` questions in any 24 hours; stamps in seconds of a clock that does not go back."""

    def __init__(self, per_day: int) -> None:
        if per_day < 0:
            raise ValueError(f"per_day must not be negative; got {per_day}")
        self.per_day = int(per_day)
        self._asked: List[float] = []

    def left(self, stamp_s: float) -> int:
        """How many questions may be asked now."""
        return max(0, self.per_day - sum(1 for asked in self._asked if stamp_s - asked < _DAY_S))

    def spend(self, count: int, stamp_s: float) -> None:
        """Count questions as asked; raises ValueError when there are not so many left."""
        if count > self.left(stamp_s):
            raise ValueError(f"{count} questions, {self.left(stamp_s)} are left today")
        self._asked = [asked for asked in self._asked if stamp_s - asked < _DAY_S] + [float(stamp_s)] * count

    def state(self) -> Dict[str, object]:
        """All that `restore` needs, as JSON has it."""
        return {"per_day": self.per_day, "asked": list(self._asked)}

    def restore(self, asked: List[float]) -> None:
        """Go on from the list of a `state()`."""
        self._asked = [float(stamp) for stamp in asked][-max(1, self.per_day) :]
