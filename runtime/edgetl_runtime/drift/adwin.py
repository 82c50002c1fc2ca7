"""ADWIN: a window over a stream of numbers that is as long as its mean stands still."""

from __future__ import annotations

import math
from typing import Any, Dict, List

__all__ = ["Adwin"]


class Adwin:
    """Adaptive windowing (Bifet and Gavalda 2007) with river's defaults.

    For labelled error (0 or 1), or confidence: values in 0..1. Level i holds up to `buckets` + 1 sums of 2^i
    values, so the memory is O(buckets log N); every `clock` values all O(buckets log N) cuts are tried, and
    while the two sides of one differ by more than chance allows (`delta`), the oldest bucket is dropped.
    After an alarm the next value starts anew, as in river.
    """

    def __init__(
        self, delta: float = 0.002, clock: int = 32, buckets: int = 5, least: int = 5, grace: int = 10
    ) -> None:
        if not 0 < delta < 1:
            raise ValueError(f"delta must be in (0, 1); got {delta}")
        self.delta, self.clock, self.buckets, self.least, self.grace = delta, clock, buckets, least, grace
        self._fired = False
        self._reset()

    def _reset(self) -> None:
        # Of each level the sums and the squared deviations of its buckets, the oldest first.
        self._sums: List[List[float]] = [[]]
        self._squares: List[List[float]] = [[]]
        self._ticks = 0
        self._width = self._total = self._variance = 0.0

    @property
    def width(self) -> int:
        """Number of values in the window."""
        return int(self._width)

    @property
    def mean(self) -> float:
        """Mean of the window; zero without values."""
        return self._total / self._width if self._width else 0.0

    def update(self, value: float) -> bool:
        """Take one value; True when the window was cut."""
        if self._fired:
            self._reset()
        self._sums[0].append(value)
        self._squares[0].append(0.0)
        self._width += 1.0
        if self._width > 1.0:
            gap = value - self._total / (self._width - 1.0)
            self._variance += (self._width - 1.0) * gap * gap / self._width
        self._total += value
        self._compress()
        self._ticks += 1
        self._fired = False
        if self._ticks % self.clock == 0 and self._width > self.grace:
            while self._differs():
                self._drop()
                self._fired = True
        return self._fired

    def _compress(self) -> None:
        for level in range(len(self._sums)):
            sums, squares = self._sums[level], self._squares[level]
            if len(sums) <= self.buckets:
                return
            if level + 1 == len(self._sums):
                self._sums.append([])
                self._squares.append([])
            size = float(2**level)
            gap = sums[0] / size - sums[1] / size
            self._sums[level + 1].append(sums[0] + sums[1])
            self._squares[level + 1].append(squares[0] + squares[1] + size * 0.5 * gap * gap)
            del sums[:2], squares[:2]

    def _differs(self) -> bool:
        """Whether some cut of the window has two sides that differ."""
        old_count, new_count, old_sum, new_sum = 0.0, self._width, 0.0, self._total
        bound = math.log(2.0 * math.log(self._width) / self.delta)
        for level in range(len(self._sums) - 1, -1, -1):
            size = float(2**level)
            for place, total in enumerate(self._sums[level]):
                old_count, new_count = old_count + size, new_count - size
                old_sum, new_sum = old_sum + total, new_sum - total
                if level == 0 and place == len(self._sums[0]) - 1:
                    return False
                if min(old_count, new_count) < self.least:
                    continue
                inverse = 1.0 / (old_count - self.least + 1.0) + 1.0 / (new_count - self.least + 1.0)
                chance = math.sqrt(max(0.0, 2.0 * inverse * (self._variance / self._width) * bound))
                if abs(old_sum / old_count - new_sum / new_count) > chance + 2.0 / 3.0 * bound * inverse:
                    return True
        return False

    def _drop(self) -> None:
        """Forget the oldest bucket."""
        size = float(2 ** (len(self._sums) - 1))
        total, squares = self._sums[-1].pop(0), self._squares[-1].pop(0)
        self._width -= size
        self._total -= total
        gap = total / size - self._total / self._width
        self._variance -= squares + size * self._width * gap * gap / (size + self._width)
        if not self._sums[-1]:
            del self._sums[-1], self._squares[-1]

    def state(self) -> Dict[str, Any]:
        """All that `restore` needs, as JSON has it."""
        return {
            "sums": [list(level) for level in self._sums],
            "squares": [list(level) for level in self._squares],
            "ticks": self._ticks,
            "width": self._width,
            "total": self._total,
            "variance": self._variance,
            "fired": self._fired,
        }

    def restore(self, state: Dict[str, Any]) -> None:
        """Go on from a `state()`."""
        self._sums = [list(level) for level in state["sums"]]
        self._squares = [list(level) for level in state["squares"]]
        self._ticks, self._fired = int(state["ticks"]), bool(state["fired"])
        self._width, self._total = float(state["width"]), float(state["total"])
        self._variance = float(state["variance"])
