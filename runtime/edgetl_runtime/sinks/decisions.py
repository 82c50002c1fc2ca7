"""Decisions in MCAP as ROS 2 and Foxglove know them: `vision_msgs/Classification`, `VisionInfo` when the head changes.

`VisionInfo.database_version` is meant to rise when a recogniser learns: it is the generation of the head. All other
records go to `/edgetl` as JSON.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from mcap_ros2.writer import Writer

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.sources import Uri

__all__ = ["Decisions", "load"]

_CHUNK_BYTES = 1024
_SYNC_S = 0.25
_HEADER = (
    "================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
)
_CLASSIFICATION = (
    "std_msgs/Header header\nObjectHypothesis[] results\n"
    "================\nMSG: vision_msgs/ObjectHypothesis\nstring class_id\nfloat64 score\n" + _HEADER
)
_INFO = "std_msgs/Header header\nstring method\nstring database_location\nint32 database_version\n" + _HEADER


def load(uri: Uri, listener: Any) -> Decisions:
    """The sink of `mcap://PATH`."""
    uri.finish()
    return Decisions(Path(uri.path))


class Decisions:
    """A new file; raises SourceError when it is there already. Synced four times a second."""

    def __init__(self, path: Path) -> None:
        try:
            self._stream = path.open("xb")
        except OSError as error:
            raise SourceError(f"{path} cannot be recorded to: {error}; a recording is never written over") from error
        self._writer: Any = Writer(self._stream, chunk_size=_CHUNK_BYTES)
        self._classification = self._writer.register_msgdef("vision_msgs/msg/Classification", _CLASSIFICATION)
        self._info = self._writer.register_msgdef("vision_msgs/msg/VisionInfo", _INFO)
        self._text = self._writer.register_msgdef("std_msgs/msg/String", "string data\n")
        self._generation: Optional[int] = None
        self._synced_s = 0.0
        self._closed = False

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record; raises SourceError when the disk takes it no more."""
        try:
            if record.get("kind") == "prediction" and "best" in record:
                self._classify(record)
            else:
                self._put("/edgetl", self._text, {"data": line_of(record).strip()})
            self._stream.flush()
            if time.monotonic() - self._synced_s >= _SYNC_S:
                os.fsync(self._stream.fileno())
                self._synced_s = time.monotonic()
        except OSError as error:
            raise SourceError(f"{self._stream.name} cannot be written: {error}; what was written is kept") from error

    def close(self) -> None:
        """Write the index and close; harmless when repeated."""
        if not self._closed:
            self._closed = True
            try:
                self._writer.finish()
                self._stream.flush()
                os.fsync(self._stream.fileno())
            finally:
                self._stream.close()

    def _classify(self, record: Mapping[str, Any]) -> None:
        nanoseconds = max(1, round(float(record["stamp_s"]) * 1e9))
        header = {"stamp": {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}, "frame_id": ""}
        if record["generation"] != self._generation:
            self._generation = int(record["generation"])
            info = {"header": header, "method": "edgetl", "database_location": "", "database_version": self._generation}
            self._put("/vision_info", self._info, info)
        results = [{"class_id": str(label), "score": float(score)} for label, score in record["best"]]
        self._put("/classification", self._classification, {"header": header, "results": results})

    def _put(self, topic: str, schema: Any, message: Dict[str, Any]) -> None:
        now_ns = time.time_ns()
        self._writer.write_message(topic, schema, message, now_ns, now_ns)
