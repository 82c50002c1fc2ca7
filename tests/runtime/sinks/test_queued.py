"""Whoever takes records slowly, or not at all, holds nobody up; and what was not passed on is counted."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, List, Optional

import pytest
from edgetl_runtime.sinks import Queued


class Disk:
    """Takes records as slowly as it is told, or raises what it is told."""

    lost = 0

    def __init__(self, free: bool = True) -> None:
        self.taken: List[Any] = []
        self.free, self.closed = threading.Event(), False
        self.error: Optional[Exception] = None
        if free:
            self.free.set()

    def write(self, record: Any) -> None:
        assert self.free.wait(20.0)
        if self.error is not None:
            raise self.error
        self.taken.append(record["number"])

    def close(self) -> None:
        self.closed = True


def wait_for(done: Callable[[], Any]) -> bool:
    until = time.monotonic() + 10.0
    while not done() and time.monotonic() < until:
        time.sleep(0.002)
    return bool(done())


def test_a_stuck_disk_holds_nobody_up_and_the_oldest_give_way() -> None:
    disk = Disk(free=False)
    sink = Queued(disk, "disk", most_waiting=10)
    sink.write({"number": 0})
    assert wait_for(sink._waiting.empty)  # it is being written
    for number in range(1, 101):
        sink.write({"number": number})
    assert sink.lost == 90 and sink._waiting.qsize() == 10
    disk.free.set()
    sink.close()
    sink.close()
    assert disk.taken == [0, *range(91, 101)] and disk.closed and sink.lost == 90
    sink.write({"number": 999})  # after the end
    assert disk.taken[-1] == 100


def test_of_a_recording_nothing_is_missing() -> None:
    disk = Disk(free=False)
    sink = Queued(disk, "disk", patient=True, most_waiting=3)
    threading.Timer(0.2, disk.free.set).start()
    for number in range(50):
        sink.write({"number": number})
    sink.close()
    assert disk.taken == list(range(50)) and sink.lost == 0


def test_an_error_is_said_once_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    sink = Queued(disk, "disk")
    disk.error = OSError(28, "No space left on device")
    for number in range(5):
        sink.write({"number": number})
    assert wait_for(lambda: sink.lost == 5)
    disk.error = None
    sink.write({"number": 5})
    sink.close()
    assert disk.taken == [5]
    assert [record.levelno for record in caplog.records if "No space left" in record.message] == [logging.ERROR]


def test_a_pipe_that_nobody_reads_any_more_ends_the_command() -> None:
    disk = Disk()
    disk.error = BrokenPipeError()
    sink = Queued(disk, "stdout", patient=True, most_waiting=2)
    with pytest.raises(BrokenPipeError):
        for number in range(100):
            sink.write({"number": number})
    with pytest.raises(BrokenPipeError):
        sink.close()
    assert disk.closed
