"""What is fuzzed: each parser of foreign bytes as a function of bytes that raises EdgetlError or nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

__all__ = ["TARGETS", "Target"]

Function = Callable[[bytes], object]


class Target(NamedTuple):
    """`load` imports what it needs and gives the function; `seeds` are inputs to begin with.

    `rooms` are the parts of the runtime that it tries, `most_bytes` the longest input.
    """

    load: Callable[[], Function]
    seeds: Callable[[], List[bytes]]
    rooms: Tuple[str, ...]
    most_bytes: int = 65536


def _in_memory() -> Tuple[Path, Callable[[bytes], None]]:
    """A file without a disk, by a path that can be opened again and again, and how to fill it."""
    descriptor = os.memfd_create("fuzz")

    def fill(data: bytes) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)

    return Path(f"/proc/self/fd/{descriptor}"), fill


def _manifest() -> Function:
    from edgetl_runtime.bundle.manifest import dump_manifest, parse_manifest

    def read(data: bytes) -> None:
        dump_manifest(parse_manifest(data))

    return read


def _manifests() -> List[bytes]:
    from edgetl_runtime.bundle.manifest import dump_manifest

    from tests.runtime import golden

    return [dump_manifest(golden.bundle().manifest), b"{}"]


def _container() -> Function:
    """A file as it is; and what is no zip as the manifest of one that is right otherwise, checksums and all."""
    from edgetl_runtime.bundle.container import read_bundle

    from tests.attacks.forge import zipped

    path, fill = _in_memory()
    others = [entry for entry in _small_entries() if entry[0] != "manifest.json"]

    def read(data: bytes) -> None:
        fill(data if data[:1] == b"P" else zipped([("manifest.json", data), *others]))
        read_bundle(path)

    return read


def _small_entries() -> List[Tuple[str, bytes]]:
    """A right bundle, as long as nobody asks its members: they are too large to mutate well."""
    from tests.attacks.forge import entries
    from tests.runtime import golden

    return entries({name: name.encode() for name in golden.bundle().members}, signer=None)


def _containers() -> List[bytes]:
    from tests.attacks.forge import entries, zipped

    files = _small_entries()
    short = [(name, data[:300]) for name, data in entries()]
    return [zipped(files), files[0][1], zipped(short), zipped([("manifest.json", b"{}"), ("manifest.sig", b"{}")])]


def _tensors() -> Function:
    from edgetl_runtime.bundle.tensors import unpack_tensors

    return lambda data: unpack_tensors(data, "x")


def _tensor_files() -> List[bytes]:
    import numpy as np
    from edgetl_runtime.bundle.tensors import pack_tensors

    some: Dict[str, Any] = {"a": np.ones((2, 3), np.float32), "b": np.arange(4), "c": np.zeros((0, 5))}
    return [pack_tensors(some, {"x": [1, {"y": None}]}), pack_tensors({}, {})]


def _signature() -> Function:
    from edgetl_runtime.bundle.signature import load_public_key, named_key, verify_manifest
    from edgetl_runtime.bundle.trust_set import verify_trust_set
    from edgetl_runtime.errors import EdgetlError

    readers: List[Function] = [
        named_key,
        load_public_key,
        lambda data: verify_manifest(b"x", data, {}),
        lambda data: verify_trust_set(data, {}),
    ]

    def read(data: bytes) -> None:
        for reader in readers:
            with contextlib.suppress(EdgetlError):
                reader(data)

    return read


def _signatures() -> List[bytes]:
    from edgetl_runtime.bundle.signature import sign_manifest

    from tests.attacks.forge import TRUSTED, key_pair, public_pem

    return [sign_manifest(b"x", key_pair(TRUSTED)[0]), public_pem(TRUSTED)]


_FIELDS: List[Dict[str, Any]] = [{"name": "a", "type": "i16"}, {"name": "b", "type": "f32"}]
_PLAIN: List[Dict[str, Any]] = [{"name": "a"}, {"name": "b"}]
_POSITION: List[Dict[str, Any]] = [{"name": "a", "index": 3}, {"name": "b", "index": 7}]
_SCHEMAS: List[Dict[str, Any]] = [
    {"format": "edgetl", "rate_hz": 100, "field": _FIELDS},
    {"format": "packed", "rate_hz": 100, "sync": "aa55", "checksum": "crc16-ccitt", "field": _FIELDS},
    {"format": "packed", "rate_hz": 100, "sync": "aa", "field": _FIELDS},
    {"format": "csv", "rate_hz": 100, "field": _PLAIN},
    {"format": "csv", "rate_hz": 100, "checksum": "crc32", "field": _PLAIN},
    {"format": "nmea", "rate_hz": 1, "sentence": "RMC", "field": _POSITION},
]


def _frames() -> Function:
    from edgetl_runtime.framing import open_decoder, parse_schema

    schemas = [parse_schema(table) for table in _SCHEMAS]

    def read(data: bytes) -> None:
        if not data:
            return
        decoder = open_decoder(schemas[data[0] % len(schemas)])
        cut = 1 + (data[1] if len(data) > 1 else 0)
        for part in (data[2:cut], data[cut:]):  # however the bytes are cut
            decoder.feed(part)
        if decoder.waiting_bytes > 4096:
            raise RuntimeError(f"{decoder.waiting_bytes} bytes are kept")

    return read


def _frame_bytes() -> List[bytes]:
    from edgetl_runtime.framing import encode_frame

    return [
        b"\0\5" + encode_frame(b"\1\2\0\0\x80\x3f", 1, 2), b"\1\5\xaa\x55\1\2\0\0\x80\x3f\0\0", b"\3\5\n1.5,-2e3\n",
        b"\4\5\n1,2*0123abcd\n", b"\5\5\n$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n",
    ]  # fmt: skip


def _schema() -> Function:
    from edgetl_runtime.framing import parse_schema

    def read(data: bytes) -> None:
        try:
            table = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(table, dict):
            parse_schema(table)

    return read


def _recording() -> Function:
    from edgetl_runtime.sources.mcap_feed import McapFeed, raw_messages

    path, fill = _in_memory()

    def read(data: bytes) -> None:
        list(raw_messages(io.BytesIO(data), {}))
        fill(data)
        feed = McapFeed(path, "x")
        try:
            while feed.read(0.0):
                pass
        finally:
            feed.close()

    return read


def _recordings() -> List[bytes]:
    """Few messages each; without checksums and compression a changed byte reaches the messages."""
    from mcap.writer import CompressionType

    from tests.runtime.sources import recordings

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "imu.mcap"
        kinds: List[Dict[str, Any]] = [
            {},
            {"compression": CompressionType.LZ4},
            {"compression": CompressionType.NONE},
            {"compression": CompressionType.NONE, "enable_crcs": False},
        ]
        return [*(recordings.write_imu(path, 8, **options).read_bytes() for options in kinds), _own_recording()]


def _own_recording() -> bytes:
    """As `edgetl-runtime record` writes vectors: JSON, whose schema names channels and units."""
    from mcap.writer import CompressionType, Writer

    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.NONE, enable_crcs=False)
    writer.start()
    declared = {"channels": ["a", "b"], "properties": {"a": {"unit": "m"}, "b": {"unit": ""}}}
    schema = writer.register_schema("edgetl.Sample", "jsonschema", json.dumps(declared).encode())
    channel = writer.register_channel("/samples", "json", schema)
    for number in range(4):
        writer.add_message(channel, number, json.dumps({"a": number, "b": 1.5}).encode(), number)
    writer.finish()
    return stream.getvalue()


_BUNDLE = ("bundle",)
TARGETS: Dict[str, Target] = {
    "manifest": Target(_manifest, _manifests, _BUNDLE),
    "container": Target(_container, _containers, _BUNDLE),
    "tensors": Target(_tensors, _tensor_files, _BUNDLE),
    "signature": Target(_signature, _signatures, _BUNDLE, 4096),
    "frames": Target(_frames, _frame_bytes, ("framing",)),
    "schema": Target(_schema, lambda: [json.dumps(table).encode() for table in _SCHEMAS], ("framing",)),
    "recording": Target(_recording, _recordings, ("sources",), 8192),
}
