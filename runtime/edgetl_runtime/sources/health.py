"""Is a source to be believed? Each sample is checked, dropped or doubted; the state is known at any time."""

from __future__ import annotations

import collections
import math
import zlib
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, Mapping, Optional, Tuple

import numpy as np

from edgetl_runtime.sources.feed import About, Sample

__all__ = ["STATES", "Health", "Watch"]

# Worst first. "starting" and "ended" are no faults.
STATES = (
    "unplugged", "stale", "not_finite", "shape", "flooding", "disordered", "saturated", "constant",
    "starting", "ended", "ok",
)  # fmt: skip
_SLACK_S = 0.05  # batches come at most this late without being a stall
_HOLD_S = 0.25  # how long a fault is remembered after its last sample; recovery is faster than a blink
_RATE_SLACK = 1.2
_BACKLOG = 50  # samples that may come at once
_BACKLOG_S = 0.15
_DARK, _BRIGHT = 4, 251


@dataclass(frozen=True)
class Health:
    """A source at one moment. `state` is the worst of `faults`, or "ok", "starting" or "ended".

    `rate_hz` is measured, `age_s` the time since anything came; `drops` counts by reason what became no sample.
    """

    state: str
    faults: Tuple[str, ...]
    rate_hz: float
    age_s: float
    samples: int
    drops: Mapping[str, int]

    @property
    def learnable(self) -> bool:
        """May a head learn from it now?"""
        return self.state == "ok"


class Watch:
    """The checks of one source. `now_s` is monotonic time, handed in; nothing here looks at a clock.

    Of a recording, which is read faster than it was taken, the time is that of its samples.
    """

    def __init__(self, about: About, now_s: float) -> None:
        self._about = about
        self._period_s = 1.0 / about.rate_hz if about.rate_hz else 0.0
        self._came_s = self._recorded_s = now_s
        self._arrivals: Deque[float] = collections.deque(maxlen=64)
        self._gaps: Deque[float] = collections.deque(maxlen=31)
        self._held: Dict[str, float] = {}
        self._connected, self._ended = True, False
        self._last: Any = None
        self._stamp_s = -math.inf
        self._refused_s, self._refused = -math.inf, 0
        self._level, self._leaked_s = 0.0, now_s
        self._repeats, self._stuck = 0, np.zeros(1)
        self._low = np.array([-math.inf if low is None else low for low, _ in about.limits])
        self._high = np.array([math.inf if high is None else high for _, high in about.limits])
        self.samples = 0
        self.drops: Dict[str, int] = {}

    def check(self, sample: Sample, now_s: float) -> Optional[Sample]:
        """The sample, with a doubt where there is one; None when it was dropped and counted."""
        if not self._about.live:
            now_s = self._recorded_s = sample.stamp_s if math.isfinite(sample.stamp_s) else self._recorded_s
        reason = self._refusal(sample, now_s)
        if reason:
            self.drops[reason] = self.drops.get(reason, 0) + 1
            return None
        mark = self._fingerprint(sample)
        self._compare(sample, mark, now_s)
        self._stamp_s, self._last = sample.stamp_s, mark
        self.samples += 1
        self._arrivals.append(now_s)
        doubt = next(iter(self._faults(now_s, only_held=True)), "")
        return replace(sample, doubt=doubt) if doubt and not sample.doubt else sample

    def came(self, count: int, connected: bool, now_s: float) -> None:
        """Say that a read brought that many samples, good or bad."""
        if connected and not self._connected:
            self._last, self._repeats, self._stuck = None, 0, np.zeros(1)
            self._stamp_s = -math.inf
            self._came_s = now_s
        self._connected = connected
        if count:
            if self.samples:
                self._gaps.append(now_s - self._came_s)
            self._came_s = now_s

    def end(self) -> None:
        """The recording is over."""
        self._ended = True

    def health(self, now_s: float, drops: Mapping[str, int]) -> Health:
        """The state at `now_s`; `drops` are those that the feed itself counted."""
        now_s = now_s if self._about.live else self._recorded_s
        faults = self._faults(now_s)
        state = faults[0] if faults else "ended" if self._ended else "ok" if self.samples else "starting"
        counted = dict(self.drops)
        for reason, count in drops.items():
            counted[reason] = counted.get(reason, 0) + count
        return Health(state, faults, self._rate_hz(now_s), max(0.0, now_s - self._came_s), self.samples, counted)

    def _refusal(self, sample: Sample, now_s: float) -> str:
        """Why a sample cannot be used at all, or ""."""
        data = sample.data
        if self._about.kind == "vector":
            wrong = data.shape != (len(self._about.channels),) or data.dtype.kind not in "fiu"
        else:
            changed = self._last is not None and self._about.steady and data.shape != self._last[0]
            wrong = data.dtype != np.uint8 or changed
        if wrong:
            return self._hold("shape", now_s)
        if not math.isfinite(sample.stamp_s) or (data.dtype.kind == "f" and not np.isfinite(data).all()):
            return self._hold("not_finite", now_s)
        if sample.stamp_s <= self._stamp_s:
            # A clock that was set back is followed at the third sample; a late sample is not.
            self._refused = self._refused + 1 if self._refused_s < sample.stamp_s < self._stamp_s else 1
            self._refused_s = sample.stamp_s
            if self._refused < 3:
                self._hold("disordered", now_s)
                return "duplicate" if sample.stamp_s == self._stamp_s else "out_of_order"
            self._hold("disordered", now_s)
        self._refused, self._refused_s = 0, -math.inf
        return self._flood(sample, now_s)

    def _flood(self, sample: Sample, now_s: float) -> str:
        """A leaking bucket. What waited somewhere and comes at once is no flood, if its stamps are in time."""
        if not self._about.live or not self._about.rate_hz:
            return ""
        passed_s = max(now_s - self._leaked_s, min(sample.stamp_s - self._stamp_s, 1.0), 0.0)
        self._leaked_s = now_s
        self._level = max(0.0, self._level - passed_s * self._about.rate_hz * _RATE_SLACK) + 1.0
        if self._level > max(_BACKLOG, _BACKLOG_S * self._about.rate_hz):
            self._level -= 1.0
            return self._hold("flooding", now_s)
        return ""

    def _compare(self, sample: Sample, mark: Any, now_s: float) -> None:
        """Hold what makes a sample doubtful: at the limits, or the same as before."""
        about, last = self._about, self._last
        if about.kind == "vector":
            if len(self._low) and ((sample.data <= self._low) | (sample.data >= self._high)).any():
                self._hold("saturated", now_s)
            same = sample.data == last if last is not None else np.zeros(sample.data.shape, bool)
            self._stuck = np.where(same, self._stuck + 1, 0)
            self._repeats = self._repeats + 1 if same.all() else 0
            if about.stuck_after and self._stuck.max() + 1 >= about.stuck_after:
                self._hold("constant", now_s)
        else:
            few = sample.data[:: max(1, sample.data.shape[0] // 32), :: max(1, sample.data.shape[1] // 32)]
            if few.min() >= _BRIGHT or few.max() <= _DARK:
                self._hold("saturated", now_s)
            self._repeats = self._repeats + 1 if last is not None and last == mark else 0
        if about.steady and about.constant_after and self._repeats + 1 >= about.constant_after:
            self._hold("constant", now_s)

    def _fingerprint(self, sample: Sample) -> Any:
        """What tells a sample from the next: its values, or a frame's shape and the checksum of some 16 rows."""
        if self._about.kind == "vector":
            return sample.data
        rows = sample.data[:: max(1, sample.data.shape[0] // 16)]
        return sample.data.shape, zlib.crc32(np.ascontiguousarray(rows).data)

    def _hold(self, fault: str, now_s: float) -> str:
        self._held[fault] = now_s
        return fault

    def _faults(self, now_s: float, only_held: bool = False) -> Tuple[str, ...]:
        hold_s = max(_HOLD_S, 3 * self._period_s)
        found = {fault for fault, at_s in self._held.items() if abs(now_s - at_s) <= hold_s and not self._ended}
        if not only_held and not self._connected:
            found.add("unplugged")
        elif not only_held and self._about.live and not self._ended and now_s - self._came_s > self._stale_s():
            found.add("stale")
        return tuple(state for state in STATES if state in found)

    def _stale_s(self) -> float:
        """Two periods; of the batches, where a bus delivers in batches."""
        usual = sorted(self._gaps)[len(self._gaps) // 2] if self._gaps else 0.0
        if not self._period_s:
            return max(2 * usual, 1.0)
        started = bool(self.samples)
        return 2 * max(self._period_s, min(usual, _SLACK_S)) if started else max(2 * self._period_s, 1.0)

    def _rate_hz(self, now_s: float) -> float:
        if len(self._arrivals) < 2:
            return 0.0
        until_s = self._arrivals[-1] if now_s - self._arrivals[-1] < 2 * max(self._period_s, _SLACK_S) else now_s
        return (len(self._arrivals) - 1) / max(until_s - self._arrivals[0], 1e-9)
