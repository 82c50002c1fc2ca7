"""Page-Hinkley: has the mean of a stream of numbers moved? Constant memory."""

from __future__ import annotations

from typing import Dict

__all__ = ["PageHinkley"]


class PageHinkley:
    """Cumulative sums against the running mean (Page 1954), in both directions, with river's defaults.

    For labelled error (0 or 1), or mean confidence as a proxy. `threshold` is in units of the stream times
    samples: 50 needs some 50 / (shift - delta) samples to fire. O(1) a value, six numbers of state. After an
    alarm the next value starts anew.
    """

    def __init__(
        self, least: int = 30, delta: float = 0.005, threshold: float = 50.0, alpha: float = 0.9999
    ) -> None:
        self.least, self.delta, self.threshold, self.alpha = least, delta, threshold, alpha
        self._fired = False
        self._reset()

    def _reset(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._up = self._down = 0.0
        self._lowest, self._highest = float("inf"), -1.0

    def update(self, value: float) -> bool:
        """Take one value; True when the mean has moved."""
        if self._fired:
            self._reset()
        self._count += 1
        self._mean += (value - self._mean) / self._count
        gap = value - self._mean
        self._up = self.alpha * self._up + gap - self.delta
        self._down = self.alpha * self._down + gap + self.delta
        self._lowest, self._highest = min(self._lowest, self._up), max(self._highest, self._down)
        far = max(self._up - self._lowest, self._highest - self._down) > self.threshold
        self._fired = self._count >= self.least and far
        return self._fired

    @property
    def mean(self) -> float:
        """Mean since the last alarm; zero without values."""
        return self._mean

    def state(self) -> Dict[str, float]:
        """All that `restore` needs, as JSON has it."""
        return {
            "count": self._count,
            "mean": self._mean,
            "up": self._up,
            "down": self._down,
            "lowest": self._lowest if self._count else 0.0,
            "highest": self._highest,
            "fired": float(self._fired),
        }

    def restore(self, state: Dict[str, float]) -> None:
        """Go on from a `state()`."""
        self._count, self._fired = int(state["count"]), bool(state["fired"])
        self._mean, self._up, self._down = state["mean"], state["up"], state["down"]
        self._lowest = state["lowest"] if self._count else float("inf")
        self._highest = state["highest"]
