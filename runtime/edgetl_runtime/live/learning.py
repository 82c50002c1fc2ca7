"""Labels are learnt beside the loop: a prediction never waits for the disk, the guard, or a board that cools down."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.live.inputs import Input, Memory
from edgetl_runtime.live.throttle import PauseGate
from edgetl_runtime.session import Session
from edgetl_runtime.smoothing import RateLimit, Thinner

__all__ = ["LabelRequest", "LearningThread"]

logger = logging.getLogger(__name__)

_MOST_WAITING = 256
_POLL_S = 0.1
_DRIFT_EVERY_S = 10.0
Tell = Callable[[Dict[str, Any]], None]


@dataclass(frozen=True)
class LabelRequest:
    """A label for the input of that number, or of that moment, or the newest; `on_purpose` when a person teaches.

    Of a frame that is cut into crops, a moment has many: then `place` says which. A head of numbers learns from
    `targets`, in place of a label.
    """

    label: Optional[str]
    number: Optional[int] = None
    stamp_s: Optional[float] = None
    on_purpose: bool = False
    place: Optional[str] = None
    targets: Optional[Mapping[str, float]] = None

    @property
    def told(self) -> Dict[str, Any]:
        """What it asked for, as records say it."""
        return {"label": self.label} if self.targets is None else {"label": None, "targets": dict(self.targets)}


class LearningThread:
    """Learns what is asked for and tells how it went: a record "learnt" (durable by then) or "refused" a request.

    Refused is a label for an input that is forgotten, doubtful or as one learnt before, and what comes faster than
    the rate limit; and, without a number or a stamp, when the newest input is older than `newest_within_s` (of a live
    source, whose stamps are monotonic time): who presses a key means what is seen now. While a gate has a reason,
    requests wait. What the session finds of drift is told when it changes: a record "drift".
    """

    def __init__(
        self,
        session: Session,
        memory: Memory,
        tell: Tell,
        *,
        source: str = "",
        gates: Sequence[PauseGate] = (),
        thinner: Optional[Thinner] = None,
        limit: Optional[RateLimit] = None,
        newest_within_s: Optional[float] = None,
    ) -> None:
        self._session, self._memory, self._tell, self._source = session, memory, tell, source
        self._gates, self._thinner, self._limit = list(gates), thinner, limit
        self._newest_within_s = newest_within_s
        self._requests: queue.Queue[Any] = queue.Queue(_MOST_WAITING)
        self._closing = threading.Event()
        self.paused = ""
        self._drift, self._looked_s = "", time.monotonic()
        self._thread = threading.Thread(target=self._run, name="edgetl learning", daemon=True)
        self._thread.start()

    def ask(self, request: LabelRequest) -> None:
        """Look the input up at once and learn it soon; never waits."""
        if self._limit is not None and not self._limit.accept(time.monotonic()):  # before the search, which costs
            self._refused(request, None, "labels come faster than they may")
            return
        item = self._memory.find(request.number, request.stamp_s, request.place)
        reason = self._not_found(request) if item is None else self._refusal(request, item)
        if not reason:
            try:
                self._requests.put_nowait((request, item))
                return
            except queue.Full:
                reason = f"{_MOST_WAITING} labels are waiting already"
        self._refused(request, item, reason)

    def close(self, timeout_s: float = 30.0) -> None:
        """Learn what is waiting and may be learnt now, then end; harmless when repeated."""
        self._closing.set()
        self._thread.join(timeout=timeout_s)

    def _not_found(self, request: LabelRequest) -> str:
        newest, (count, seconds) = self._memory.find(), self._memory.reach
        if newest is None:
            return "nothing was seen yet"
        if request.number is not None and request.number > newest.number:
            return f"there is no such input yet: the newest is {newest.number}"
        if request.place is not None and self._memory.find(place=request.place) is None:
            return f"there is no place {request.place!r}"
        return f"it is not remembered: the newest {count:,} inputs are, of {seconds:.1f} s (--remember-mb keeps more)"

    def _refusal(self, request: LabelRequest, item: Input) -> str:
        if item.doubt:
            return f"the sensor was {item.doubt.replace('_', ' ')}"
        if item.place and request.number is None and request.place is None:
            return f"which place? Say it, like {item.place!r}, or the number of the input"
        if self._newest_within_s is not None and request.number is None and request.stamp_s is None:
            age_s = time.monotonic() - item.stamp_s
            if age_s > self._newest_within_s:
                return f"nothing was seen for {age_s:.0f} s"
        return ""

    def _run(self) -> None:
        while True:
            self.paused = self._pause()
            if self.paused and not self._closing.is_set():
                self._closing.wait(_POLL_S)
                continue
            try:
                request, item = self._requests.get(timeout=_POLL_S)
            except queue.Empty:
                if self._closing.is_set():
                    return
                self._say_drift()
                continue
            if self.paused:
                self._refused(request, item, self.paused)
                continue
            try:
                self._learn(request, item)
            except Exception:  # the thread must outlive whatever one label does
                logger.exception("a label could not be learnt")
                self._refused(request, item, "an error that is in the log")

    def _say_drift(self) -> None:
        """Here and not in the loop: the session's lock may have to be waited for."""
        if time.monotonic() - self._looked_s < _DRIFT_EVERY_S:
            return
        self._looked_s = time.monotonic()
        try:
            drift = self._session.status()["drift"]
        except Exception:  # as below
            logger.exception("what the session found of drift could not be asked for")
            return
        words = str(drift["words"])
        if words != self._drift:
            self._drift = words
            self._tell({"kind": "drift", "drift": drift["kind"], "words": words, "why": drift["why"]})

    def _pause(self) -> str:
        try:
            return next((reason for gate in self._gates if (reason := gate.reason())), "")
        except Exception:  # as below
            logger.exception("whether learning must wait could not be found out; it goes on")
            return ""

    def _learn(self, request: LabelRequest, item: Input) -> None:
        began = time.perf_counter()
        try:
            kind = request.label or ""
            if self._thinner is not None and not self._thinner.accept(self._session.features(item.data), kind):
                self._refused(request, item, "nearly the same was learnt already")
                return
            sample_id = self._session.learn(
                item.data, request.label, targets=request.targets, source=self._source, on_purpose=request.on_purpose
            )
        except EdgetlError as error:
            self._refused(request, item, str(error))
            return
        record = {"kind": "learnt", "number": item.number, **request.told, "id": sample_id}
        self._tell({**record, "seconds": time.perf_counter() - began})

    def _refused(self, request: LabelRequest, item: Optional[Input], reason: str) -> None:
        number = item.number if item is not None else request.number
        self._tell({"kind": "refused", "number": number, **request.told, "reason": reason})
