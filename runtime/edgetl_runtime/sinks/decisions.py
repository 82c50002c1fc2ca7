"""Decisions in MCAP as ROS 2 and Foxglove know them: `vision_msgs/Classification`, `VisionInfo` when the head changes.

All other records go to `/edgetl` as JSON.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from mcap_ros2.writer import Writer

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.sinks.vision_fields import CLASSIFICATION, INFO, classification_of, info_of, is_classification
from edgetl_runtime.sources import Uri

__all__ = ["Decisions", "load"]

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1024
_SYNC_S = 0.25


def load(uri: Uri, listener: Any) -> Decisions:
    """The sink of `mcap://PATH`."""
    uri.finish()
    return Decisions(Path(uri.path))


class Decisions:
    """A new file; raises SourceError when it is there already. Synced four times a second.

    Once a record cannot be written the file is closed, so that what is in it stays whole, and every later one raises.
    """

    lost = 0

    def __init__(self, path: Path) -> None:
        try:
            self._stream = path.open("xb")
        except OSError as error:
            raise SourceError(f"{path} cannot be recorded to: {error}; a recording is never written over") from error
        self._writer: Any = Writer(self._stream, chunk_size=_CHUNK_BYTES)
        self._classification = self._writer.register_msgdef("vision_msgs/msg/Classification", CLASSIFICATION)
        self._info = self._writer.register_msgdef("vision_msgs/msg/VisionInfo", INFO)
        self._text = self._writer.register_msgdef("std_msgs/msg/String", "string data\n")
        self._generation: Optional[int] = None
        self._synced_s = 0.0
        self._failure = ""
        self._closed = False

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record; raises SourceError when the disk takes it no more."""
        if self._failure:
            raise SourceError(self._failure)
        try:
            if is_classification(record):
                self._classify(record)
            else:
                self._put("/edgetl", self._text, {"data": line_of(record).strip()})
            self._stream.flush()
            if time.monotonic() - self._synced_s >= _SYNC_S:
                os.fsync(self._stream.fileno())
                self._synced_s = time.monotonic()
        except OSError as error:
            self._failure = f"{self._stream.name} cannot be written: {error}; what was written is kept"
            raise SourceError(self._failure) from error

    def close(self) -> None:
        """Write the index and close; harmless when repeated."""
        if not self._closed:
            self._closed = True
            try:
                if not self._failure:
                    self._writer.finish()
                    self._stream.flush()
                    os.fsync(self._stream.fileno())
                self._stream.close()
            except OSError as error:
                logger.warning("%s has no index: %s; all that was written can be read", self._stream.name, error)
                with contextlib.suppress(OSError):
                    self._stream.close()  # what could not be flushed is tried once more, and given up

    def _classify(self, record: Mapping[str, Any]) -> None:
        if record["generation"] != self._generation:
            self._generation = int(record["generation"])
            self._put("/vision_info", self._info, info_of(record))
        self._put("/classification", self._classification, classification_of(record))

    def _put(self, topic: str, schema: Any, message: Dict[str, Any]) -> None:
        now_ns = time.time_ns()
        self._writer.write_message(topic, schema, message, now_ns, now_ns)
