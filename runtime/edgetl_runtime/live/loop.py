"""The loop itself. Nothing in it waits for a learner, a disk or a slow reader; the watchdog is fed from here only."""

from __future__ import annotations

import collections
import copy
import logging
import time
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence

from edgetl_runtime.errors import SampleError
from edgetl_runtime.live.inputs import Cutter, Input, Memory
from edgetl_runtime.session import Session
from edgetl_runtime.sinks import Sink
from edgetl_runtime.smoothing import DecisionFilter
from edgetl_runtime.sources import Health, Source
from edgetl_runtime.watchdog import Watchdog

__all__ = ["Loop"]

logger = logging.getLogger(__name__)

_MOST_BEHIND = 4
_MOST_TOLD = 1000
_BEST = 5
_POLL_S = 0.1
_HEALTH_POLL_S = 0.02


class Loop:
    """Predicts what a source gives and writes a record an input: `kind` "prediction"; and "health" when it changes.

    A live source that gives more than can be predicted is followed at its newest: inputs that would be answered late
    are left out and counted in `skipped`. Of a recording every input is predicted. With `observe` what nobody doubts is
    also evidence of drift: see Session.observe.
    """

    def __init__(
        self,
        session: Session,
        source: Source,
        cut: Cutter,
        sinks: Sequence[Sink] = (),
        *,
        memory: Optional[Memory] = None,
        smooth: Optional[DecisionFilter] = None,
        watchdog: Optional[Watchdog] = None,
        observe: bool = False,
        health_every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._source, self._cut, self._sinks = session, source, cut, list(sinks)
        self._memory, self._smooth, self._watchdog, self._clock = memory, smooth, watchdog, clock
        self._observe = observe
        self._steady: Dict[str, DecisionFilter] = {}  # each place of a frame is decided on its own
        self._told: Deque[Dict[str, Any]] = collections.deque()  # by other threads, written in this one
        self._health_every_s, self._health_s, self._state = health_every_s, float("-inf"), ""
        self._stopping, self._asked_s, self._state_now = False, float("-inf"), "starting"
        self.predicted = self.skipped = self.unusable = self.untold = 0

    def add_sink(self, sink: Sink) -> None:
        """One more that takes the records; before `run`."""
        self._sinks.append(sink)

    def tell(self, record: Dict[str, Any]) -> None:
        """Have a record written by the loop; from any thread. Of too many at once refusals are only counted."""
        if len(self._told) >= _MOST_TOLD and record.get("kind") == "refused":
            self.untold += 1
        else:
            self._told.append(record)

    def stop(self) -> None:
        """End after the current step; from any thread or signal handler."""
        self._stopping = True

    def leftover(self) -> List[Dict[str, Any]]:
        """What was told after the loop had ended."""
        return [self._told.popleft() for _ in range(len(self._told))]

    def run(self) -> None:
        """Until the source ends or `stop`; raises SourceError and EngineError, which end it."""
        if self._watchdog is not None:
            self._watchdog.ready()
        try:
            while not self._stopping and self.step():
                pass
        finally:
            self._write_told()
            if self._watchdog is not None:
                self._watchdog.stopping()

    def step(self) -> bool:
        """What came, at most a tenth of a second waited for; False at the end of the source."""
        samples = self._source.read(_POLL_S)
        inputs = self._cut(samples or [])
        moments = sorted({item.stamp_s for item in inputs})  # a frame may be cut into many inputs
        if self._source.about.live and len(moments) > _MOST_BEHIND:
            newest = [item for item in inputs if item.stamp_s >= moments[-_MOST_BEHIND]]
            self.skipped += len(inputs) - len(newest)
            inputs = newest
        now_s = self._clock()
        if inputs or samples is None or now_s - self._asked_s >= _HEALTH_POLL_S:  # a fast sensor: 250 steps a second
            self._asked_s, health = now_s, self._source.health()
            for item in inputs:
                self._predict(item, health)
            self._say_health(health)
            self._state_now = health.state
        self._write_told()
        if self._watchdog is not None:
            self._watchdog.alive(source=self._state_now, predicted=self.predicted)
        return samples is not None

    def _predict(self, item: Input, health: Health) -> None:
        if self._memory is not None:
            self._memory.keep(item)
        try:
            prediction = self._session.predict(
                item.data, observe=self._observe and not item.doubt, stamp_s=item.stamp_s
            )
        except SampleError as error:
            self.unusable += 1
            logger.debug("input %d cannot be used: %s", item.number, error)
            return
        self.predicted += 1
        record: Dict[str, Any] = {"kind": "prediction", "number": item.number, "stamp_s": item.stamp_s}
        if prediction.values:
            record.update(values=prediction.values, deviations=prediction.deviations)
        else:
            label = prediction.label
            share = prediction.probabilities[label] if label is not None else 0.0
            best = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[:_BEST]
            record.update(label=label, probability=share, best=[[str(name), value] for name, value in best])
            if self._smooth is not None:
                if item.place not in self._steady:
                    self._steady[item.place] = copy.deepcopy(self._smooth)
                steady = self._steady[item.place]
                decision = steady.push(item.stamp_s, prediction.probabilities, prediction.outlier)
                record.update(decision=decision.label, reason=decision.reason, changed=decision.changed)
        record.update(
            outlier=prediction.outlier, generation=prediction.generation, latency_ms=prediction.latency_ms,
            doubt=item.doubt, source=health.state,
        )  # fmt: skip
        if self._source.about.live:
            record["age_ms"] = (self._clock() - item.stamp_s) * 1e3
        if item.place:
            record["place"] = item.place
        if item.label is not None:
            record["truth"] = item.label
        self._write(record)

    def _say_health(self, health: Health) -> None:
        now_s = self._clock()
        if health.state == self._state and now_s - self._health_s < self._health_every_s:
            return
        self._state, self._health_s = health.state, now_s
        self._write(
            {
                "kind": "health", "state": health.state, "faults": list(health.faults), "rate_hz": health.rate_hz,
                "samples": health.samples, "drops": dict(health.drops), "predicted": self.predicted,
                "skipped": self.skipped, "unusable": self.unusable, "untold": self.untold,
                "unwritten": sum(sink.lost for sink in self._sinks),
            }
        )  # fmt: skip

    def _write_told(self) -> None:
        for _ in range(len(self._told)):  # not what comes meanwhile: who asks fast must not hold up a prediction
            self._write(self._told.popleft())

    def _write(self, record: Dict[str, Any]) -> None:
        for sink in self._sinks:
            sink.write(record)
