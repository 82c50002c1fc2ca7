"""Recording a source to MCAP, in chunks so small that a cut loses less than half a second.

Vectors are written as JSON that Foxglove plots and `mcap://` reads back with names and units; frames as ROS 2's
`sensor_msgs/CompressedImage`. The log time is the wall clock of the recording, the stamp the source's own.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from mcap.writer import Writer
from mcap_ros2.writer import Writer as RosWriter
from PIL import Image

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.vision_fields import HEADER
from edgetl_runtime.sources import About, Sample

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

_CHUNK_S = 0.3
_SYNC_S = 0.25
_LARGEST_CHUNK = 1 << 20
_IMAGE = f"std_msgs/Header header\nstring format\nuint8[] data\n{HEADER}"


class Recorder:
    """Writes samples to a new file; raises SourceError when it is there already or cannot be written.

    What was added is handed to the system at once and synced four times a second. `lossless` keeps frames as PNG.
    """

    def __init__(
        self, path: Path, about: About, lossless: bool = False, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._about, self._lossless, self._clock_ns = about, lossless, clock_ns
        try:
            self._stream = path.open("xb")
        except OSError as error:
            raise SourceError(f"{path} cannot be recorded to: {error}; a recording is never written over") from error
        self._add: Optional[Callable[[Sample, int], None]] = None
        self._finish: Callable[[], None] = lambda: None
        self._synced_ns = 0
        self.samples = 0

    def add(self, sample: Sample) -> None:
        """Write one sample; raises SourceError when the disk takes it no more."""
        now_ns = self._clock_ns()
        try:
            if self._add is None:
                self._open(sample)
            assert self._add is not None
            self._add(sample, now_ns)
            self._stream.flush()
            if abs(now_ns - self._synced_ns) >= _SYNC_S * 1e9:
                os.fsync(self._stream.fileno())
                self._synced_ns = now_ns
        except OSError as error:
            raise SourceError(f"{self._stream.name} cannot be written: {error}; what was recorded is kept") from error
        self.samples += 1

    def close(self) -> None:
        """Write the index and close; harmless when repeated."""
        if self._stream.closed:
            return
        try:
            self._finish()
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            logger.warning("%s has no index: %s; all samples can be read", self._stream.name, error)
        finally:
            self._stream.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, first: Sample) -> None:
        """A chunk holds what comes in 0.3 s, by the size of the first message and the source's rate."""
        size = len(self._picture(first)) if self._about.kind == "frame" else len(self._text(first)) + 40
        chunk_bytes = int(min(_LARGEST_CHUNK, max(1, size * (self._about.rate_hz or 0.0) * _CHUNK_S)))
        if self._about.kind == "frame":
            self._open_frames(chunk_bytes)
        else:
            self._open_vectors(chunk_bytes)

    def _open_vectors(self, chunk_bytes: int) -> None:
        writer = Writer(self._stream, chunk_size=chunk_bytes)
        writer.start(library="edgetl-runtime")
        properties: Dict[str, Any] = {name: {"type": "number"} for name in self._about.channels}
        for name, unit in zip(self._about.channels, self._about.units):
            properties[name]["unit"] = unit
        schema = json.dumps({"type": "object", "channels": list(self._about.channels), "properties": properties})
        number = writer.register_schema("edgetl.Sample", "jsonschema", schema.encode())
        channel = writer.register_channel("/samples", "json", number, {"source": self._about.name})

        def add(sample: Sample, now_ns: int) -> None:
            writer.add_message(channel, now_ns, self._text(sample), now_ns, self.samples)

        self._add, self._finish = add, writer.finish

    def _open_frames(self, chunk_bytes: int) -> None:
        writer = RosWriter(self._stream, chunk_size=chunk_bytes)
        schema = writer.register_msgdef("sensor_msgs/msg/CompressedImage", _IMAGE)

        def add(sample: Sample, now_ns: int) -> None:
            message = {
                "header": {"stamp": _stamp(sample), "frame_id": self._about.name},
                "format": "png" if self._lossless else "jpeg",
                "data": self._picture(sample),
            }
            writer.write_message("/frames", schema, message, now_ns, now_ns, self.samples)

        self._add, self._finish = add, writer.finish

    def _text(self, sample: Sample) -> bytes:
        row: Dict[str, Any] = {"header": {"stamp": _stamp(sample)}, "doubt": sample.doubt}
        if sample.label is not None:
            row["label"] = sample.label
        row.update(zip(self._about.channels, sample.data.tolist()))
        return json.dumps(row).encode()

    def _picture(self, sample: Sample) -> bytes:
        stream = io.BytesIO()
        options: Dict[str, Any] = {"compress_level": 1} if self._lossless else {"quality": 92}
        Image.fromarray(sample.data).save(stream, "PNG" if self._lossless else "JPEG", **options)
        return stream.getvalue()


def _stamp(sample: Sample) -> Dict[str, int]:
    nanoseconds = max(1, round(sample.stamp_s * 1e9))  # in ROS a stamp of 0 was never set
    return {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}
