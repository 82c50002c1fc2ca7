"""A serial port that comes back: opened for us alone, found again by its id when it was unplugged."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Callable, List, Optional

import serial

from edgetl_runtime.errors import SourceError

__all__ = ["BY_ID", "SerialPort"]

logger = logging.getLogger(__name__)

BY_ID = Path("/dev/serial/by-id")
_POLL_S = 0.05
_LEAST_WAIT_S, _MOST_WAIT_S = 0.05, 1.0
_MOST_BYTES = 1 << 16
# What pyserial and the kernel raise when a device goes, or is read by two: all mean "gone" (pyserial #86, #341).
_GONE = (serial.SerialException, OSError, TypeError, ValueError)


class SerialPort:
    """Bytes of a device, or of a URL of pyserial (`socket://host:port`); `connected` is False while it is gone.

    A device is remembered by its link in `/dev/serial/by-id`, because after a replug `/dev/ttyUSB0` may be another.
    After the first byte more is waited for during `gather_s`: at 1 kHz, waking up for every frame costs twice what the
    frames do, and adapters themselves gather for 1 to 16 ms.
    """

    def __init__(
        self,
        path: str,
        baud: int,
        wait: bool = False,
        gather_s: float = 0.004,
        by_id: Path = BY_ID,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path, self._baud, self._clock, self._sleep = path, baud, clock, sleep
        self._gather_s, self._is_device = gather_s, "://" not in path
        self._by_id = by_id
        self._link: Optional[Path] = None
        self._port: Any = None
        self._wait_s, self._next_try_s = _LEAST_WAIT_S, 0.0
        self._reason = ""
        self.losses = 0
        try:
            self._open()
        except _GONE as error:
            if not wait:
                raise SourceError(self._advice(error)) from error
            self._later(str(error))

    @property
    def connected(self) -> bool:
        """Is the device there?"""
        return self._port is not None

    def read(self, timeout_s: float) -> bytes:
        """What has come, at once when there is something; b"" when nothing did in time or the device is gone."""
        until_s = self._clock() + timeout_s
        while True:
            was_connected = self.connected
            data = self._read_once() if was_connected else self._reopen(until_s)
            # A change is told at once, so that whoever reads sees each loss and each return.
            if data or self.connected != was_connected or self._clock() >= until_s:
                return data

    def write(self, data: bytes) -> bool:
        """Send; False when the device is gone."""
        try:
            if self._port is None or self._port.write(data) != len(data):
                return False
        except _GONE as error:
            self._lost(error)
            return False
        return True

    def close(self) -> None:
        """Give the port free; harmless when repeated."""
        port, self._port = self._port, None
        if port is not None:
            try:
                port.close()
            except _GONE:
                logger.debug("%s: closing a device that is gone", self._path)

    def _open(self) -> None:
        target = str(self._link or self._path)
        options = {"exclusive": True} if self._is_device else {}
        port = serial.serial_for_url(target, self._baud, timeout=_POLL_S, **options)
        self._port = port
        self._wait_s = _LEAST_WAIT_S
        if self._is_device and self._link is None:
            self._link = self._find_link()

    def _read_once(self) -> bytes:
        try:
            first = self._port.read(1)
            if not first:
                return b""
            if self._gather_s:
                self._sleep(self._gather_s)
            return bytes(first + self._port.read(min(self._port.in_waiting, _MOST_BYTES)))
        except _GONE as error:
            self._lost(error)
            return b""

    def _reopen(self, until_s: float) -> bytes:
        now_s = self._clock()
        if now_s < self._next_try_s:
            self._sleep(max(0.0, min(self._next_try_s, until_s) - now_s))
            return b""
        try:
            self._open()
        except _GONE as error:
            self._later(str(error))
        else:
            logger.warning("%s is back", self._link or self._path)
        return b""

    def _lost(self, error: Exception) -> None:
        self.losses += 1
        logger.warning("%s is gone: %s; waiting for it", self._path, error)
        self.close()
        self._wait_s = _LEAST_WAIT_S
        self._later(str(error))

    def _later(self, reason: str) -> None:
        self._next_try_s = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _MOST_WAIT_S)
        if reason != self._reason:
            logger.info("%s cannot be opened: %s", self._path, reason)
            self._reason = reason

    def _find_link(self) -> Optional[Path]:
        """The link by id that leads where the path does."""
        target = Path(self._path).resolve()
        return next((link for link in self._links() if link.resolve() == target), None)

    def _links(self) -> List[Path]:
        return sorted(self._by_id.iterdir()) if self._by_id.is_dir() else []

    def _advice(self, error: Exception) -> str:
        text = str(error)
        if "exclusively lock" in text or "busy" in text.lower():
            return f"{self._path} is read by another program; end that one first (fuser {self._path} names it)"
        if "Permission denied" in text:
            return f"no permission to open {self._path}; add the user to the group dialout and log in again"
        links = ", ".join(map(str, self._links())) or "none"
        return f"{self._path} cannot be opened: {text}; devices that are there, by id: {links}"
