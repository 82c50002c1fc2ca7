"""Evidence that may be looked at after every sample: a bet against "it is not better"."""

from __future__ import annotations

import math
from typing import Sequence, Tuple

__all__ = ["STAKES", "Wealth"]

STAKES: Tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


class Wealth:
    """What one unit becomes that is bet on differences d in [-1, 1] being positive: mean over stakes of prod(1 + s d).

    If the differences are not positive on average, whatever the past, the chance that it *ever* reaches 1/a is
    at most a (Ville). Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting".
    """

    def __init__(self, logs: Sequence[float] = (0.0,) * len(STAKES)) -> None:
        if len(logs) != len(STAKES):
            raise ValueError(f"a wealth has {len(STAKES)} parts, one a stake; got {len(logs)}")
        self.logs = [float(value) for value in logs]

    def bet(self, difference: float) -> None:
        """Add one difference, clipped to [-1, 1]."""
        d = min(1.0, max(-1.0, float(difference)))
        self.logs = [value + math.log1p(stake * d) for value, stake in zip(self.logs, STAKES)]

    @property
    def value(self) -> float:
        """The wealth now; 1 before any bet."""
        top = max(self.logs)
        return math.exp(min(top, 700.0)) * sum(math.exp(value - top) for value in self.logs) / len(self.logs)
