"""A recording played at its own pace, or faster, as if it were live."""

from __future__ import annotations

import collections
import time
from dataclasses import replace
from typing import Callable, Deque, List, Mapping, Optional

from edgetl_runtime.sources.feed import About, Feed, Sample

__all__ = ["PacedFeed"]


class PacedFeed:
    """The samples of another feed, `speed` times as fast as they were taken; 0 hands them on as they are.

    Their stamps become monotonic time. Pauses of more than a minute are not waited for.
    """

    def __init__(
        self,
        feed: Feed,
        about: About,
        speed: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._feed, self.about, self._speed, self._clock, self._sleep = feed, about, speed, clock, sleep
        self._ahead: Deque[Sample] = collections.deque()
        self._ended = False
        self._recorded_s: Optional[float] = None
        self._due_s = 0.0

    @property
    def connected(self) -> bool:
        """As the feed says."""
        return self._feed.connected

    @property
    def drops(self) -> Mapping[str, int]:
        """As the feed says."""
        return self._feed.drops

    def close(self) -> None:
        """Release the feed."""
        self._feed.close()

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The samples whose time has come."""
        if not self._speed:
            return self._feed.read(timeout_s)
        if not self._ahead and not self._ended:
            batch = self._feed.read(timeout_s)
            self._ended = batch is None
            self._ahead.extend(batch or ())
        if not self._ahead:
            return None if self._ended else []
        now_s = self._clock()
        wait_s = self._when(self._ahead[0], now_s) - now_s
        if wait_s > 0:
            self._sleep(min(wait_s, timeout_s))
            now_s = self._clock()
        due = []
        while self._ahead and (due_s := self._when(self._ahead[0], now_s)) <= now_s:
            sample = self._ahead.popleft()
            self._recorded_s, self._due_s = sample.stamp_s, due_s
            due.append(replace(sample, stamp_s=due_s))
        return due

    def _when(self, sample: Sample, now_s: float) -> float:
        if self._recorded_s is None:
            return now_s
        passed_s = (sample.stamp_s - self._recorded_s) / self._speed
        # A step back is kept, whoever checks the order must see it; a clock that was set is not waited for.
        return self._due_s + passed_s if -1.0 <= passed_s <= 60.0 else now_s
