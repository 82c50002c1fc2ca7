"""When a sample was taken, in seconds of the host's monotonic clock: the sender's clock, or its count, anchored.

What arrives over USB comes in batches, late by a varying time; a window of it by arrival would be bent. So the
sender's own clock is kept to, and anchored anew only where it and the host's part by more than `most_apart_s`.
"""

from __future__ import annotations

import math
from typing import Optional

__all__ = ["Timeline"]

_STEERING = 0.02  # of the distance to the arrival, per sample, where samples are only counted
_EARLY_S, _SLOWER = 0.02, 0.01


class Timeline:
    """Ticks (`tick_s` seconds each, wrapping after `bits` bits), or a count at `rate_hz`, or arrivals -> seconds.

    Whatever steps the wall clock takes, nothing here sees them: `arrived_s` is monotonic time.
    """

    def __init__(
        self,
        tick_s: Optional[float] = None,
        bits: Optional[int] = None,
        rate_hz: Optional[float] = None,
        most_apart_s: float = 1.0,
    ) -> None:
        self._tick_s, self._wrap = tick_s, float(2**bits) if bits else None
        self._period_s = 1.0 / rate_hz if rate_hz else None
        self._most_apart_s = most_apart_s
        self._ticks: Optional[float] = None
        self._stamp_s: Optional[float] = None
        self.restarts = 0

    def reset(self) -> None:
        """Begin anew: the sender was unplugged."""
        self._ticks = self._stamp_s = None

    def stamp(self, ticks: Optional[float], arrived_s: float) -> float:
        """The sample's stamp in seconds; may go back, where the sender's clock did by less than `most_apart_s`."""
        if self._tick_s is not None and ticks is not None and math.isfinite(ticks):
            guess = self._by_ticks(ticks, self._tick_s)
            apart_s = self._most_apart_s
        elif self._period_s is not None:
            guess = self._by_count(arrived_s, self._period_s)
            apart_s = min(self._most_apart_s, max(0.05, 5 * self._period_s))
        else:
            return arrived_s
        if guess is None:
            guess = arrived_s
        elif abs(guess - arrived_s) > apart_s:
            self.restarts += 1
            guess = arrived_s
        elif self._stamp_s is not None and guess > arrived_s + _EARLY_S:
            # No sample is taken after it came: the first was late. The clock goes 1 % slower until that is made up.
            guess -= min(guess - arrived_s, _SLOWER * max(0.0, guess - self._stamp_s))
        self._stamp_s = guess
        return guess

    def _by_ticks(self, ticks: float, tick_s: float) -> Optional[float]:
        before, self._ticks = self._ticks, ticks
        if before is None or self._stamp_s is None:
            return None
        passed = ticks - before
        if self._wrap is not None:
            passed %= self._wrap
            if passed > self._wrap / 2:
                passed -= self._wrap
        return self._stamp_s + passed * tick_s

    def _by_count(self, arrived_s: float, period_s: float) -> Optional[float]:
        if self._stamp_s is None:
            return None
        expected = self._stamp_s + period_s
        # Steered slowly towards the arrivals: the declared rate is never quite the true one.
        return expected + _STEERING * (arrived_s - expected)
