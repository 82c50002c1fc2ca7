"""`sim://`: a recording with the faults of real sensors, at given rates; for tests and rehearsals.

    sim://runs.npz?data=walk/x&rate_hz=100&seed=1&nan=0.001&stall=0.0005&stall_s=0.5&unplug=0.0001

It takes the options of the recording (`file://` picks which) and these, each the probability a sample: `lost`,
`duplicate` (the same stamp again), `late` (a stamp that goes back), `nan`, `saturate`, `shape`, `black` (frames), and,
each the probability that one begins: `freeze` (10 samples repeat), `flood` (100 at once), `stall`, `unplug`, `reset`
(the clock goes back by `reset_s`). Stalls and unplugs last `stall_s` and `unplug_s` seconds of the recording.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.feed import Feed, Sample
from edgetl_runtime.sources.uri import Uri

__all__ = ["FAULTS", "SimulatedFeed", "load"]

FAULTS = (
    "lost", "duplicate", "late", "nan", "saturate", "shape", "black", "freeze", "flood", "stall", "unplug", "reset",
)  # fmt: skip
_FROZEN, _FLOOD = 10, 100


def load(uri: Uri) -> SimulatedFeed:
    """The feed of a `sim://` address."""
    from edgetl_runtime.sources import open_feed  # the table that this file is a row of

    seed = uri.integer("seed", 0)
    rates = {fault: uri.number(fault, 0.0) or 0.0 for fault in FAULTS}
    lasting = {name: uri.number(name, default) or 0.0 for name, default in _LASTING.items()}
    if any(rate > 1.0 for rate in rates.values()):
        raise SourceError(f"{uri.name}: a fault's rate is a probability, at most 1; got {rates}")
    return SimulatedFeed(open_feed(uri.with_scheme("file")), np.random.default_rng(seed), rates, lasting)


_LASTING = {"stall_s": 0.5, "unplug_s": 1.0, "reset_s": 3600.0}


class SimulatedFeed:
    """The samples of another feed, damaged at random; `counts` says what was done, for tests to compare with."""

    def __init__(
        self,
        feed: Feed,
        generator: np.random.Generator,
        rates: Mapping[str, float],
        lasting: Optional[Mapping[str, float]] = None,
    ) -> None:
        self._feed, self._generator, self._rates = feed, generator, dict(rates)
        self._lasting = {**_LASTING, **(lasting or {})}
        self.about = feed.about
        self.connected = True
        self.counts: Dict[str, int] = dict.fromkeys(FAULTS, 0)
        self._silent_until_s = -np.inf
        self._frozen = 0
        self._shift_s = 0.0
        self._last: Any = None

    @property
    def drops(self) -> Mapping[str, int]:
        """As the recording says."""
        return self._feed.drops

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next samples, or what is left of them."""
        batch = self._feed.read(timeout_s)
        if batch is None:
            return None
        return [damaged for sample in batch for damaged in self._damaged(sample)]

    def close(self) -> None:
        """Close the recording."""
        self._feed.close()

    def _happens(self, fault: str) -> bool:
        rate = self._rates.get(fault, 0.0)
        happens = rate > 0.0 and bool(self._generator.random() < rate)
        self.counts[fault] += happens
        return happens

    def _damaged(self, sample: Sample) -> List[Sample]:
        recorded_s = sample.stamp_s
        if recorded_s < self._silent_until_s:
            return []
        self.connected = True
        for fault in ("stall", "unplug"):
            if self._happens(fault):
                self._silent_until_s = recorded_s + self._lasting[f"{fault}_s"]
                self.connected = fault != "unplug"
                return []
        if self._happens("reset"):
            self._shift_s -= self._lasting["reset_s"]
        sample = replace(sample, stamp_s=recorded_s + self._shift_s)
        if self._happens("lost"):
            return []
        sample = replace(sample, data=self._wrong(sample.data))
        if self._happens("late"):
            sample = replace(sample, stamp_s=sample.stamp_s - 2.0 / (self.about.rate_hz or 100.0))
        self._last = sample.data
        copies = _FLOOD if self._happens("flood") else 2 if self._happens("duplicate") else 1
        if copies == _FLOOD:
            return [replace(sample, stamp_s=sample.stamp_s + number * 1e-6) for number in range(copies)]
        return [sample] * copies

    def _wrong(self, data: Any) -> Any:
        """The data, or what a broken sensor makes of them."""
        if self._frozen or self._happens("freeze"):
            self._frozen = self._frozen - 1 if self._frozen else _FROZEN - 1
            return data if self._last is None else self._last
        if self._happens("shape"):
            return data[:-1]
        if data.dtype == np.uint8:
            return np.zeros_like(data) if self._happens("black") else data
        for fault, value in (("nan", np.nan), ("saturate", self._limit())):
            if self._happens(fault):
                data = data.copy()
                data[int(self._generator.integers(len(data)))] = value
        return data

    def _limit(self) -> float:
        limits = [high for _, high in self.about.limits if high is not None]
        return max(limits, default=1e6)
