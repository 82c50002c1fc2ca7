"""Saying "alive" to a supervisor from inside the inference loop, so that a loop that hangs is found and restarted.

Speaks the protocol of systemd (`sd_notify`, a datagram to the socket named by NOTIFY_SOCKET) and keeps a health record,
one small JSON file, for any other. Nothing here waits: a supervisor that does not listen stops no inference.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

__all__ = ["Watchdog", "notify"]

logger = logging.getLogger(__name__)

_RECORD_EVERY_S = 1.0


def notify(message: str) -> bool:
    """Send one message such as "READY=1" to the supervisor; False when there is none, or it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        logger.debug("the supervisor was not told %s: %s", message, error)
        return False
    return True


class Watchdog:
    """Call `ready` when the loop begins and `alive` once an answer, in the loop itself, never in a thread of its own.

    A thread would go on saying that all is well beside a loop that hangs. `alive` tells the supervisor at most four
    times in the period that it asked for (WATCHDOG_USEC; never when it asked for none) and writes the health record
    at most once a second. `record` is that file; by default `health.json` in the RUNTIME_DIRECTORY that systemd
    gives, else none. It is replaced as a whole and not synced: it belongs on a file system in memory.
    """

    def __init__(
        self, record: Union[str, Path, None] = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._record = Path(record) if record is not None else Path(folder, "health.json") if folder else None
        self._clock = clock
        self._period_s = _asked_period_s()
        self._told_s = self._recorded_s = float("-inf")
        self._answers = 0
        self._facts: Dict[str, Any] = {}

    def ready(self, **facts: Any) -> None:
        """The loop is about to begin."""
        notify("READY=1")
        self._write("ready", facts)

    def alive(self, **facts: Any) -> None:
        """One answer was given; `facts` (plain data, such as the generation) go into the health record."""
        now = self._clock()
        self._answers += 1
        if self._period_s is not None and now - self._told_s >= self._period_s / 4:
            self._told_s = now
            notify("WATCHDOG=1")
        if self._answers == 1 or now - self._recorded_s >= _RECORD_EVERY_S:
            self._write("serving", facts)

    def stopping(self) -> None:
        """The loop has ended on purpose."""
        notify("STOPPING=1")
        self._write("stopped", {})

    def _write(self, state: str, facts: Dict[str, Any]) -> None:
        self._recorded_s = self._clock()
        self._facts.update(facts)
        if self._record is None:
            return
        record = {
            "state": state, "pid": os.getpid(), "answers": self._answers, "mono_s": self._recorded_s,
            "wall_s": time.time(), **self._facts,
        }  # fmt: skip
        staged = self._record.with_name(f".{self._record.name}.{os.getpid()}")
        try:
            staged.write_text(json.dumps(record) + "\n", encoding="utf-8")
            staged.replace(self._record)
        except OSError as error:
            logger.debug("the health record %s was not written: %s", self._record, error)
            with contextlib.suppress(OSError):
                staged.unlink()


def _asked_period_s() -> Optional[float]:
    """What the supervisor asked this very process for, in seconds."""
    period_us, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not period_us.isdecimal() or (process and process != str(os.getpid())):
        return None
    return int(period_us) / 1e6
