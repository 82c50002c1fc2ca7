"""A source that is open: samples checked one by one, its health, and a thread where it is live."""

from __future__ import annotations

import collections
import logging
import threading
import time
from typing import Callable, Deque, Iterator, List, Optional

from edgetl_runtime.errors import EdgetlError, SourceError
from edgetl_runtime.sources.feed import About, Feed, Sample
from edgetl_runtime.sources.health import Health, Watch

__all__ = ["Source"]

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_KEPT_S = 2.0
_HANGS_S = 30.0  # a driver has timeouts of its own, all shorter
_SAID_EVERY_S = 10.0
_LOOK_EVERY_S = 0.1  # for the log; `health` is asked when it is wanted


class Source:
    """Iterate it for samples; made by `open_source`.

    A live source is read by a thread of its own, so that whoever is slow loses no bytes: of vectors the last two
    seconds wait to be fetched, of frames the newest only (`keep`); what had to give way is counted as "overrun". A
    recording waits for whoever reads it. Close it, or use it in a `with`.
    """

    def __init__(self, feed: Feed, keep: Optional[int] = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.about: About = feed.about
        self._feed, self._clock = feed, clock
        self._watch = Watch(feed.about, clock())
        if keep is None:
            keep = 1 if self.about.kind == "frame" else max(256, int(_KEPT_S * (self.about.rate_hz or 0.0)))
        self._waiting: Deque[Sample] = collections.deque(maxlen=keep)
        self._changed = threading.Condition()
        self._closing = self._ended = False
        self._error: Optional[EdgetlError] = None
        self._state, self._told, self._said_s = "starting", False, float("-inf")
        self._looked_s = float("-inf")
        self._inside_s: Optional[float] = None  # since when the thread is in the driver
        self._thread: Optional[threading.Thread] = None
        if self.about.live:
            self._thread = threading.Thread(target=self._follow, name=f"edgetl {self.about.name}", daemon=True)
            self._thread.start()

    def read(self, timeout_s: float = 1.0) -> Optional[List[Sample]]:
        """The samples that are there, or come first within `timeout_s`; [] when none did; None after the end.

        Raises SourceError when the source has failed for good, or its driver has not come back for half a minute:
        only a new process helps then.
        """
        if self._thread is None:
            return self._take_in(timeout_s) if not self._closing else None
        self._check_driver()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._error or self._closing, timeout_s)
            samples = list(self._waiting)
            self._waiting.clear()
            if samples or not (self._ended or self._error or self._closing):
                return samples
            if self._error is not None:
                raise self._error
            return None

    def _check_driver(self) -> None:
        inside_s = self._inside_s
        if inside_s is not None and self._clock() - inside_s > _HANGS_S:
            raise SourceError(
                f"the driver of {self.about.name} has not come back for {_HANGS_S:.0f} s; start this program again"
            )

    def __iter__(self) -> Iterator[Sample]:
        while True:
            samples = self.read()
            if samples is None:
                return
            yield from samples

    def health(self) -> Health:
        """How the source is, now."""
        with self._changed:
            return self._watch.health(self._clock(), self._feed.drops)

    def close(self) -> None:
        """Release the source; harmless when repeated. Who waits in `read` is let go."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10.0)
            if self._thread.is_alive():  # closing a device under a driver that is in it crashes some
                logger.error("%s cannot be closed: its driver does not come back", self.about.name)
                return
        self._feed.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_in(self, timeout_s: float) -> Optional[List[Sample]]:
        """One read of the feed, its samples checked."""
        self._inside_s = self._clock()
        batch = self._feed.read(timeout_s)
        now_s, self._inside_s = self._clock(), None
        with self._changed:
            if batch is None:
                self._watch.end()
                return None
            self._watch.came(len(batch), self._feed.connected, now_s)
            checked = [self._watch.check(sample, now_s) for sample in batch]
            return [sample for sample in checked if sample is not None]

    def _follow(self) -> None:
        try:
            while not self._closing:
                samples = self._take_in(_POLL_S)
                with self._changed:
                    if samples is None:
                        self._ended = True
                        self._changed.notify_all()
                        return
                    crowded = len(self._waiting) + len(samples) - (self._waiting.maxlen or 0)
                    if crowded > 0:
                        self._watch.drops["overrun"] = self._watch.drops.get("overrun", 0) + crowded
                    self._waiting.extend(samples)
                    if samples:
                        self._changed.notify_all()
                self._say_changes()
        except EdgetlError as error:
            self._fail(error)
        except Exception as error:  # whatever a driver raises, whoever reads must hear of it
            logger.exception("%s failed", self.about.name)
            self._fail(SourceError(f"{self.about.name} failed: {type(error).__name__}: {error}"))

    def _fail(self, error: EdgetlError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _say_changes(self) -> None:
        if self._clock() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s, state = self._clock(), self.health().state
        if state != self._state and {state, self._state} & {"unplugged", "flooding", "not_finite", "shape"}:
            # A loose plug, for days, is not told ten times a second: a fault seldom, and its end if it was told.
            now_s, better = self._clock(), state == "ok"
            if self._told if better else now_s - self._said_s >= _SAID_EVERY_S:
                logger.warning("%s is %s, was %s", self.about.name, state, self._state)
                self._told, self._said_s = not better, now_s
        self._state = state
