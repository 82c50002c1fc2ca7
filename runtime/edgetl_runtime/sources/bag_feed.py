"""`bag://`: ROS 1 bags, and ROS 2 bags in SQLite or MCAP folders, by rosbags (Python 3.10 or newer, no ROS).

    bag://drive.bag?topic=/imu/data
    bag://rosbag2_folder?topic=/camera/image_raw

A ROS 1 bag that was cut short has no index: `rosbag reindex` first.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from rosbags.highlevel import AnyReader

from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.sources.feed import About, Sample
from edgetl_runtime.sources.ros_messages import header_stamp_s, known_type, reader_of
from edgetl_runtime.sources.uri import Uri

__all__ = ["BagFeed", "load"]

logger = logging.getLogger(__name__)

_BATCH = 64


def load(uri: Uri) -> BagFeed:
    """The feed of a `bag://` address."""
    by_header = uri.choice("clock", ("header", "log")) == "header"
    topic, rate_hz = uri.option("topic"), uri.number("rate_hz")
    return BagFeed(Path(uri.path), uri.name, topic, uri.words("fields"), uri.words("units"), by_header, rate_hz)


class BagFeed:
    """The messages of one topic as samples, in the order of the bag's clock."""

    connected = True

    def __init__(
        self,
        path: Path,
        name: str,
        topic: str = "",
        fields: Tuple[str, ...] = (),
        units: Tuple[str, ...] = (),
        by_header: bool = True,
        rate_hz: Optional[float] = None,
    ) -> None:
        self._by_header, self._closed = by_header, False
        self._damage: Dict[str, int] = {}
        if not path.exists():
            raise SourceError(f"there is no bag {path}")
        folder = path.parent if path.suffix == ".db3" else path
        try:
            self._bag = AnyReader([folder])
            self._bag.open()
        except Exception as error:  # besides its own errors it lets through what a damaged index makes of its parts
            advice = "one that was cut needs `rosbag reindex`"
            raise SourceError(f"{path} cannot be read as a bag: {_said(error)}; {advice}") from error
        try:
            connections = [
                connection
                for connection in self._bag.connections
                if (connection.topic == topic if topic else bool(fields) or known_type(connection.msgtype))
            ]
            if len({connection.topic for connection in connections}) != 1:
                listed = ", ".join(sorted(f"{entry.topic} ({entry.msgtype})" for entry in self._bag.connections))
                raise SourceError(f"{path}: which topic? Say topic=NAME, one of {listed}")
            self._reader = reader_of(connections[0].msgtype, fields, units)
        except SourceError:
            self._bag.close()
            raise
        self.about = About(name, self._reader.kind, self._reader.channels, self._reader.units, rate_hz=rate_hz)
        self._messages: Iterator[Any] = self._bag.messages(connections)

    @property
    def drops(self) -> Mapping[str, int]:
        """What could not be read, by reason."""
        return dict(self._damage)

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next messages of the topic."""
        samples: List[Sample] = []
        while len(samples) < (_BATCH if self.about.kind == "vector" else 1):
            try:
                connection, logged_ns, data = next(self._messages)
            except StopIteration:
                return samples or None
            except Exception as error:  # whatever a damaged bag makes of its reader
                self._damage["cut"] = self._damage.get("cut", 0) + 1
                self._messages = iter(())
                logger.warning("%s ends before its end: %s", self.about.name, _said(error))
                return samples or None
            try:
                message = self._bag.deserialize(data, connection.msgtype)
                values = self._reader.read(message)
                stamp_s = header_stamp_s(message) if self._by_header else None
            except Exception as error:
                self._damage["unreadable"] = self._damage.get("unreadable", 0) + 1
                logger.debug("%s: %s", self.about.name, error if isinstance(error, SampleError) else repr(error))
                continue
            samples.append(Sample(values, logged_ns * 1e-9 if stamp_s is None else stamp_s))
        return samples

    def close(self) -> None:
        """Close the bag; harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._bag.close()


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
