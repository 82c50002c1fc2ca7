"""A sink that may have to wait (a disk, a pipe, a broker) behind one that does not: a bounded queue and a thread."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from typing import Any, Mapping, Optional

from edgetl_runtime.sinks.sink import Sink

__all__ = ["Queued"]

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000
_DRAIN_S = 3.0
_ROOM_POLL_S = 0.001


class Queued:
    """Records are handed to `inner` by a thread; of more than a thousand that wait the oldest give way, counted.

    `patient` waits for room instead: for a recording, of which nothing should be missing. What `inner` raises is
    logged once and its records count as lost, until one is taken again; only a pipe whose reader went away
    (BrokenPipeError) is raised, by the next call.
    """

    def __init__(self, inner: Sink, name: str, patient: bool = False, most_waiting: int = _MOST_WAITING) -> None:
        self._inner, self._name, self._patient, self._most = inner, name, patient, most_waiting
        # Written in C: waking a thread by a Condition costs a fifth of a millisecond a record.
        self._waiting: queue.SimpleQueue[Optional[Mapping[str, Any]]] = queue.SimpleQueue()
        self._closing = self._failing = False
        self._broken: Optional[BrokenPipeError] = None
        self._given_up = self._failed = 0  # each counted by one thread only
        self._thread = threading.Thread(target=self._run, name=f"edgetl {name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Records that gave way or could not be written."""
        return self._given_up + self._failed + self._inner.lost

    def write(self, record: Mapping[str, Any]) -> None:
        """Have one record written; waits only when `patient`."""
        self._raise_broken()
        if self._closing:
            return
        while self._waiting.qsize() >= self._most:
            if self._patient:
                time.sleep(_ROOM_POLL_S)
                self._raise_broken()
            else:
                self._give_up_one()
        self._waiting.put(record)

    def close(self) -> None:
        """Write what waits, for at most three seconds, and close; harmless when repeated."""
        self._closing = True
        self._waiting.put(None)
        self._thread.join(timeout=_DRAIN_S)
        self._inner.close()
        left = self._given_up
        while not self._waiting.empty():
            self._give_up_one()
        if self._given_up > left:
            logger.warning("%s did not take the last %d records", self._name, self._given_up - left)
        self._waiting.put(None)
        self._thread.join(timeout=1.0)  # the record that it held ends with what it waited for
        self._raise_broken()

    def _give_up_one(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._given_up += self._waiting.get_nowait() is not None

    def _run(self) -> None:
        while True:
            record = self._waiting.get()
            if record is None:
                return
            try:
                self._inner.write(record)
                self._failing = False
            except BrokenPipeError as error:
                self._broken, self._failed = error, self._failed + 1
                return
            except Exception as error:  # whatever a disk or a broker does, the loop goes on
                self._failed += 1
                if not self._failing:
                    logger.error("%s: %s; records are lost until it takes them again", self._name, error)
                self._failing = True

    def _raise_broken(self) -> None:
        if self._broken is not None:
            raise self._broken
