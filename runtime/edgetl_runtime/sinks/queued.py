"""A sink that may have to wait (a disk, a pipe, a broker) behind one that does not: a bounded queue and a thread."""

from __future__ import annotations

import collections
import logging
import threading
from typing import Any, Deque, Mapping, Optional

from edgetl_runtime.sinks.sink import Sink

__all__ = ["Queued"]

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000
_DRAIN_S = 3.0


class Queued:
    """Records are handed to `inner` by a thread; of more than a thousand that wait the oldest give way, counted.

    `patient` waits for room instead: for a recording, of which nothing should be missing. What `inner` raises is
    logged once and its records count as lost, until one is taken again; only a pipe whose reader went away
    (BrokenPipeError) is raised, by the next call.
    """

    def __init__(self, inner: Sink, name: str, patient: bool = False, most_waiting: int = _MOST_WAITING) -> None:
        self._inner, self._name, self._patient, self._most = inner, name, patient, most_waiting
        self._waiting: Deque[Mapping[str, Any]] = collections.deque()
        self._changed = threading.Condition()
        self._closing = self._failing = False
        self._broken: Optional[BrokenPipeError] = None
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name=f"edgetl {name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Records that gave way or could not be written."""
        return self._lost + self._inner.lost

    def write(self, record: Mapping[str, Any]) -> None:
        """Have one record written; waits only when `patient`."""
        with self._changed:
            self._raise_broken()
            if self._closing:
                return
            if self._patient:
                self._changed.wait_for(lambda: len(self._waiting) < self._most or self._broken)
                self._raise_broken()
            elif len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(record)
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, for at most three seconds, and close; harmless when repeated."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=_DRAIN_S)
        self._inner.close()
        with self._changed:
            left, self._lost = len(self._waiting), self._lost + len(self._waiting)
            self._waiting.clear()
            if left:
                logger.warning("%s did not take the last %d records", self._name, left)
        self._thread.join(timeout=1.0)  # the record that it held ends with what it waited for
        with self._changed:
            self._raise_broken()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                record = self._waiting.popleft()
                self._changed.notify_all()
            try:
                self._inner.write(record)
                self._failing = False
            except BrokenPipeError as error:
                with self._changed:
                    self._broken, self._lost = error, self._lost + 1
                    self._changed.notify_all()
                return
            except Exception as error:  # whatever a disk or a broker does, the loop goes on
                self._lost += 1
                if not self._failing:
                    logger.error("%s: %s; records are lost until it takes them again", self._name, error)
                self._failing = True

    def _raise_broken(self) -> None:
        if self._broken is not None:
            raise self._broken
