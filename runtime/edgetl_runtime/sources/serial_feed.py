"""`serial://`: a port moves the bytes, a format frames them, a schema names them.

    serial:///dev/ttyUSB0?baud=115200&schema=imu.toml
    serial://socket://10.0.0.7:4000?schema=imu.toml

`wait=yes` opens it although the device is not there yet.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Protocol

from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing import Reading, Schema, open_decoder, timeline_of
from edgetl_runtime.sources.feed import About, Sample
from edgetl_runtime.sources.schema_files import load_schema
from edgetl_runtime.sources.serial_port import SerialPort
from edgetl_runtime.sources.uri import Uri

__all__ = ["Port", "SerialFeed", "load"]

logger = logging.getLogger(__name__)

_SEQUENCES = 1 << 16  # of an edgetl frame
_MUCH_BYTES = 4096


class Port(Protocol):
    """What moves bytes: a SerialPort, or anything that reads like one."""

    losses: int

    @property
    def connected(self) -> bool:
        """Is the device there?"""

    def read(self, timeout_s: float) -> bytes:
        """What has come; b"" when nothing did."""

    def close(self) -> None:
        """Give it free."""


def load(uri: Uri) -> SerialFeed:
    """The feed of a `serial://` address."""
    path = uri.option("schema")
    if not path:
        raise SourceError(f"{uri.name} needs schema=FILE, a TOML or JSON table of what the device sends")
    schema = load_schema(Path(path))
    port = SerialPort(uri.path, uri.integer("baud", 115200, least=1), wait=uri.choice("wait", ("no", "yes")) == "yes")
    return SerialFeed(port, schema, uri.name)


class SerialFeed:
    """Readings of a port as samples."""

    def __init__(
        self, port: Port, schema: Schema, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._port, self._decoder, self._timeline, self._clock = port, open_decoder(schema), timeline_of(schema), clock
        self._losses = port.losses
        self._sequence: Optional[int] = None
        self._wraps = _SEQUENCES if schema.format == "edgetl" else None
        self._lost = self._mute_bytes = 0
        self.about = About(
            name=name,
            kind="vector",
            channels=tuple(channel.name for channel in schema.channels),
            units=tuple(channel.unit for channel in schema.channels),
            limits=tuple((channel.low, channel.high) for channel in schema.channels),
            rate_hz=schema.rate_hz,
            live=True,
        )

    @property
    def connected(self) -> bool:
        """Is the device there?"""
        return self._port.connected

    @property
    def drops(self) -> Mapping[str, int]:
        """Damaged frames by what was wrong, frames that the sender's count says are missing, and losses of the port."""
        counts: Dict[str, int] = {reason: count for reason, count in self._decoder.faults.items() if count}
        known = {"lost": self._lost, "clock": self._timeline.restarts, "unplugged": self._port.losses}
        return {**counts, **{reason: count for reason, count in known.items() if count}}

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The samples that the next bytes finish."""
        data = self._port.read(timeout_s)
        if self._port.losses != self._losses:
            self._losses = self._port.losses
            self._decoder.reset()
            self._timeline.reset()
            self._sequence = None
        if not data:
            return []
        arrived_s = self._clock()
        readings = self._decoder.feed(data)
        self._notice_silence(len(data), bool(readings))
        return [self._sample(reading, arrived_s) for reading in readings]

    def close(self) -> None:
        """Give the port free."""
        self._port.close()

    def _sample(self, reading: Reading, arrived_s: float) -> Sample:
        restarts = self._timeline.restarts
        stamp_s = self._timeline.stamp(reading.ticks, arrived_s)
        if self._sequence is None or reading.sequence is None or restarts != self._timeline.restarts:
            self._sequence = reading.sequence
        else:
            ahead = reading.sequence - self._sequence
            if self._wraps:
                ahead %= self._wraps
            # A repeated or late frame is no gap; the order is checked by its stamp.
            if 0 < ahead < (self._wraps or 1 << 32) // 2:
                self._lost += ahead - 1
                self._sequence = reading.sequence
        return Sample(reading.values, stamp_s)

    def _notice_silence(self, size: int, heard: bool) -> None:
        if heard:
            self._mute_bytes = -1
        elif 0 <= self._mute_bytes <= _MUCH_BYTES:
            self._mute_bytes += size
            if self._mute_bytes > _MUCH_BYTES:
                logger.warning(
                    "%s: %d bytes and no whole frame yet; is the baud rate right, and the schema? %s",
                    self.about.name, self._mute_bytes, dict(self.drops),
                )  # fmt: skip
