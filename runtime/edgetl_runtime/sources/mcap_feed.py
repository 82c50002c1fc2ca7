"""`mcap://`: recordings of ROS 2 and Foxglove; of one that was cut short, everything before the cut.

    mcap://drive.mcap?topic=/imu/data
    mcap://drive.mcap?topic=/odom&fields=twist.twist.linear.x,twist.twist.angular.z&units=m/s,rad/s

Messages in ROS 2's CDR and in JSON are read. They come in the order in which they lie in the file, sorted within a
chunk: the order by time over a whole file needs its index, and a file that was cut has none. `clock=log` stamps by when
a message was written, not by the time in its header.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import struct
import zlib
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Footer, Message, Schema, Statistics
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap_ros2.decoder import DecoderFactory

from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.sources.feed import About, Sample
from edgetl_runtime.sources.ros_messages import Reader, header_stamp_s, known_type, reader_of, reader_of_keys
from edgetl_runtime.sources.uri import Uri

__all__ = ["McapFeed", "RawMessage", "load", "raw_messages"]

logger = logging.getLogger(__name__)

_MOST_RECORD_BYTES = 1 << 30
_MOST_CHUNK_BYTES = 1 << 27  # unpacked: of one frame, or of what a tenth of a second brings
_MOST_IN_CHUNK = 1 << 20
_END_BYTES = 29 + 8  # a footer and the magic bytes after it
_OWN_TYPE = "edgetl.Sample"  # of `edgetl-runtime record`: its schema names channels and units
_BATCH = 64
_MOST_CHANNELS = 4096
_PROBED = 1000  # messages looked at for the topics, where there is no summary


class RawMessage(NamedTuple):
    """One message as it lies in the file."""

    topic: str
    encoding: str
    type: str
    schema: Optional[Schema]
    log_time_ns: int
    data: bytes


def load(uri: Uri) -> McapFeed:
    """The feed of an `mcap://` address."""
    clock = uri.choice("clock", ("header", "log"))
    topic, fields, units = uri.option("topic"), uri.words("fields"), uri.words("units")
    return McapFeed(Path(uri.path), uri.name, topic, fields, units, clock == "header", uri.number("rate_hz"))


def raw_messages(stream: IO[bytes], damage: Dict[str, int]) -> Iterator[RawMessage]:
    """Every whole message of a file, however it ends; what was damaged or cut off is counted in `damage`.

    Nothing of a chunk whose checksum is wrong is given.
    """
    schemas: Dict[int, Schema] = {}
    channels: Dict[int, Channel] = {}
    try:
        for record in StreamReader(stream, emit_chunks=True, record_size_limit=_MOST_RECORD_BYTES).records:
            records: List[Any] = _unpacked(record, damage) if isinstance(record, Chunk) else [record]
            messages = []
            for inner in records:
                if isinstance(inner, Schema):
                    schemas[inner.id] = inner
                elif isinstance(inner, Channel):
                    channels[inner.id] = inner
                elif isinstance(inner, Message):
                    messages.append(inner)
            for message in sorted(messages, key=lambda message: message.log_time):
                channel = channels.get(message.channel_id)
                if channel is None:
                    damage["no_channel"] = damage.get("no_channel", 0) + 1
                    continue
                schema = schemas.get(channel.schema_id)
                kind = schema.name if schema else ""
                yield RawMessage(
                    channel.topic, channel.message_encoding, kind, schema, message.log_time, message.data
                )
    except _BROKEN as error:
        damage["cut"] = damage.get("cut", 0) + 1
        logger.warning("a recording breaks off, all before was read: %s %s", type(error).__name__, error)


# What the library raises on bytes that are no MCAP any more: it checks little, and lets through what its parts raise.
_BROKEN = (
    McapError, ValueError, OSError, EOFError, ArithmeticError, LookupError, MemoryError, TypeError, RuntimeError,
    struct.error,
)  # fmt: skip


def _unpacked(chunk: Chunk, damage: Dict[str, int]) -> List[Any]:
    try:
        data = _inflated(chunk)
        _check_records(data)
        return breakup_chunk(dataclasses.replace(chunk, compression="", data=data), validate_crc=True)
    except Exception as error:  # zstandard's and lz4's own errors share no base with the rest
        damage["damaged_chunk"] = damage.get("damaged_chunk", 0) + 1
        logger.warning("a damaged chunk was left out: %s", error)
        return []


def _inflated(chunk: Chunk) -> bytes:
    """The records of a chunk, no more than it says: the library unpacks whatever comes."""
    most = chunk.uncompressed_size
    if most > _MOST_CHUNK_BYTES:
        raise ValueError(f"a chunk of {most:,} bytes; at most {_MOST_CHUNK_BYTES:,} are unpacked")
    packed = io.BytesIO(chunk.data)
    if chunk.compression == "zstd":
        import zstandard

        data = zstandard.ZstdDecompressor(max_window_size=_MOST_CHUNK_BYTES).stream_reader(packed).read(most + 1)
    elif chunk.compression == "lz4":
        import lz4.frame  # type: ignore[import-untyped]

        data = lz4.frame.LZ4FrameFile(packed).read(most + 1)
    elif not chunk.compression:
        data = chunk.data
    else:
        raise ValueError(f"a chunk packed by {chunk.compression[:40]!r}; lz4 and zstd are read")
    if len(data) != most:
        raise ValueError(f"a chunk of {most:,} bytes holds {'more' if len(data) > most else f'{len(data):,}'}")
    return bytes(data)


def _check_records(data: bytes) -> None:
    """A chunk of records without content costs seconds a kilobyte: of a large one they are counted first."""
    at = count = 0
    while len(data) > 9 * _MOST_IN_CHUNK and at + 9 <= len(data):
        at += 9 + int.from_bytes(data[at + 1 : at + 9], "little")
        count += 1
        if count > _MOST_IN_CHUNK:
            raise ValueError(f"a chunk of more than {_MOST_IN_CHUNK:,} records")


class McapFeed:
    """The messages of one topic as samples."""

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
        self._path, self._by_header = path, by_header
        self._damage: Dict[str, int] = {}
        self._decoders: Dict[str, Callable[[bytes], Any]] = {}
        self._readers: Dict[str, Reader] = {}
        self._fields, self._units = fields, units
        types = _topics(path)
        self._topic = _chosen(path, topic, types, bool(fields))
        if types[self._topic] == _OWN_TYPE and not fields:
            self._readers[_OWN_TYPE] = reader_of_keys(_OWN_TYPE, *_own_channels(path, self._topic))
        reader = self._reader(types[self._topic])
        self.about = About(name, reader.kind, reader.channels, reader.units, rate_hz=rate_hz)
        self._stream = path.open("rb")
        self._messages = raw_messages(self._stream, self._damage)

    @property
    def drops(self) -> Mapping[str, int]:
        """What could not be read, by reason."""
        return dict(self._damage)

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next messages of the topic."""
        most = _BATCH if self.about.kind == "vector" else 1
        samples: List[Sample] = []
        for message in self._messages:
            if message.topic != self._topic:
                continue
            try:
                samples.append(self._sample(message))
            except SampleError as error:
                self._damage["unreadable"] = self._damage.get("unreadable", 0) + 1
                logger.debug("%s: %s", self._path, error)
            if len(samples) >= most:
                return samples
        return samples or None

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._stream.close()

    def _reader(self, kind: str) -> Reader:
        if kind not in self._readers:
            self._readers[kind] = reader_of(kind, self._fields, self._units)
        return self._readers[kind]

    def _sample(self, message: RawMessage) -> Sample:
        decoded = self._decoded(message)
        data = self._reader(message.type).read(decoded)
        stamp_s = header_stamp_s(decoded) if self._by_header else None
        return Sample(data, message.log_time_ns * 1e-9 if stamp_s is None else stamp_s)

    def _decoded(self, message: RawMessage) -> Any:
        try:
            if message.encoding == "json":
                return json.loads(message.data)
            key = f"{message.type} {zlib.crc32(message.schema.data) if message.schema else 0}"
            if key not in self._decoders:
                decoder = DecoderFactory().decoder_for(message.encoding, message.schema)
                if decoder is None:
                    raise SourceError(
                        f"{self._path}: {message.topic} is encoded as {message.encoding}; cdr (ROS 2) and json are read"
                    )
                self._decoders[key] = decoder
            return self._decoders[key](message.data)
        except SourceError:
            raise
        except Exception as error:  # a decoder raises nearly anything on bytes that do not fit its schema
            raise SampleError(f"a message of {message.topic} does not fit its schema: {error}") from error


def _topics(path: Path) -> Dict[str, str]:
    """Topics that hold messages, with their types: from the summary, else from the beginning of the file."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise SourceError(f"{path} cannot be opened: {error}") from error
    with stream:
        try:
            summed_up = _summary_of(stream)
        except _BROKEN:
            summed_up = None
        if summed_up is not None:
            return summed_up
        stream.seek(0)
        types: Dict[str, str] = {}
        damage: Dict[str, int] = {}
        for number, message in enumerate(raw_messages(stream, damage)):
            types.setdefault(message.topic, message.type)
            if number >= _PROBED and types:
                break
    if not types:
        raise SourceError(f"{path} holds no message" + (": it is damaged, or no MCAP" if damage else ""))
    return types


def _summary_of(stream: IO[bytes]) -> Optional[Dict[str, str]]:
    """Topics that hold messages, with their types, as the end of a whole file says; None where it does not.

    The library's own reader would unpack any chunk that a footer points to.
    """
    stream.seek(-_END_BYTES, io.SEEK_END)
    footer = next(StreamReader(stream, skip_magic=True, emit_chunks=True).records)
    if not isinstance(footer, Footer) or footer.summary_start == 0:
        return None
    stream.seek(footer.summary_start)
    schemas: Dict[int, str] = {}
    channels: Dict[int, Channel] = {}
    counts: Optional[Mapping[int, int]] = None
    for record in StreamReader(
        stream, skip_magic=True, emit_chunks=True, record_size_limit=_MOST_RECORD_BYTES
    ).records:
        if isinstance(record, Schema):
            schemas[record.id] = record.name
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Statistics):
            counts = record.channel_message_counts
        elif isinstance(record, (Chunk, Message)):
            return None
    if counts is None:
        return None
    used = [channel for number, channel in channels.items() if counts.get(number)]
    return {channel.topic: schemas.get(channel.schema_id, "") for channel in used}


def _own_channels(path: Path, topic: str) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    with path.open("rb") as stream:
        first = next((message for message in raw_messages(stream, {}) if message.topic == topic), None)
    try:
        declared = json.loads(first.schema.data) if first is not None and first.schema is not None else {}
        names = tuple(str(name) for name in declared["channels"])
        units = tuple(str(declared["properties"][name].get("unit", "")) for name in names)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"{path}: the schema of {topic} is damaged: {error}; say fields=NAME,NAME") from error
    if not 0 < len(names) <= _MOST_CHANNELS:
        raise SourceError(f"{path}: {topic} has {len(names)} channels; 1 to {_MOST_CHANNELS} are read")
    return names, units


def _chosen(path: Path, topic: str, types: Dict[str, str], told: bool) -> str:
    listed = ", ".join(f"{name} ({kind})" for name, kind in sorted(types.items()))
    if topic:
        if topic not in types:
            raise SourceError(f"{path} has no messages on {topic}; it has {listed}")
        return topic
    usable = [name for name, kind in types.items() if told or kind == _OWN_TYPE or known_type(kind)]
    if len(usable) != 1:
        raise SourceError(f"{path}: which topic? Say topic=NAME, one of {listed}")
    return usable[0]
