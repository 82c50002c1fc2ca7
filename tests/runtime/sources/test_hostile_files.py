"""Recordings, arrays and schemas of a stranger: an error with words, no more memory than is said, and never a wait."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import open_source
from edgetl_runtime.sources.schema_files import load_schema

LONG = "9" * 400


@pytest.mark.parametrize("key", ["scale", "offset", "low", "rate_hz"])
@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_number_beyond_any_float_is_refused(key: str, suffix: str, tmp_path: Path) -> None:
    of_field, of_all = ("", f"{key}={LONG}\n") if key == "rate_hz" else (f"{key}={LONG}\n", "")
    text = f'format="csv"\n{of_all}[[field]]\nname="a"\n{of_field}'
    if suffix == ".json":
        inner, outer = ("", f',"{key}":{LONG}') if key == "rate_hz" else (f',"{key}":{LONG}', "")
        text = f'{{"format":"csv","field":[{{"name":"a"{inner}}}]{outer}}}'
    path = tmp_path / f"imu{suffix}"
    path.write_text(text)
    with pytest.raises(SourceError):
        load_schema(path)


def test_arrays_that_lie_are_refused_before_there_is_memory_for_them(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    data = (tmp_path / "a.npy").read_bytes()
    assert b"(2, 3), }" + b" " * 9 in data
    (tmp_path / "a.npy").write_bytes(data.replace(b"(2, 3), }" + b" " * 9, b"(99999999999, 9)}"[:17] + b" "))
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 2)), t=np.array(["a", "b", "c"]))
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    for address in ("a.npy?rate_hz=1", "b.npz?data=x&stamps=t", "c.npy?rate_hz=1"):
        with pytest.raises(SourceError):
            open_source(f"numpy://{tmp_path}/{address}")


def test_an_array_of_gigabytes_in_a_megabyte_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(8 << 20))
    data = bytearray((tmp_path / "bomb.npz").read_bytes())
    at = data.rfind(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", (1 << 30) + 1)  # as if there were more
    (tmp_path / "bomb.npz").write_bytes(data)
    with pytest.raises(SourceError, match="unpacked"):
        open_source(f"numpy://{tmp_path}/bomb.npz?rate_hz=1")


def chunk(kind: str, packed: bytes, said: int) -> bytes:
    body = struct.pack("<QQQI", 0, 0, said, 0) + struct.pack("<I", len(kind)) + kind.encode()
    body += struct.pack("<Q", len(packed)) + packed
    return b"\x06" + struct.pack("<Q", len(body)) + body


def packed(kind: str, data: bytes) -> bytes:
    if kind == "lz4":
        frame: Any = pytest.importorskip("lz4.frame")
        return bytes(frame.compress(data))
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(data))


@pytest.mark.parametrize("kind", ["lz4", "zstd"])
@pytest.mark.parametrize("said", ["a hundred bytes", "all of it", "four gigabytes"])
@pytest.mark.parametrize("where", ["in the data", "as a summary"])
def test_a_chunk_that_swells_is_left_out(kind: str, said: str, where: str, tmp_path: Path) -> None:
    writers = pytest.importorskip("mcap.writer")
    size = 12 << 20  # more than a million records without content
    sizes: Dict[str, int] = {"a hundred bytes": 100, "all of it": size, "four gigabytes": 1 << 32}
    begun = io.BytesIO()
    writer = writers.Writer(begun)
    writer.start()
    data = begun.getvalue()
    start = len(data) if where == "as a summary" else 0
    data += chunk(kind, packed(kind, bytes(size)), sizes[said])
    data += b"\x02" + struct.pack("<QQQI", 20, start, 0, 0) + data[:8]
    (tmp_path / "a.mcap").write_bytes(data)
    with pytest.raises(SourceError, match="no message"):
        open_source(str(tmp_path / "a.mcap"))


def own(path: Path, schema: bytes, *messages: bytes) -> List[Any]:
    writers = pytest.importorskip("mcap.writer")
    with path.open("wb") as stream:
        writer = writers.Writer(stream)
        writer.start()
        number = writer.register_schema("edgetl.Sample", "jsonschema", schema)
        channel = writer.register_channel("/samples", "json", number)
        for second, message in enumerate(messages, 1):
            writer.add_message(channel, second * 10**9, message, 1, 0)
        writer.finish()
    with open_source(str(path)) as source:
        return [sample.data.tolist() for sample in source]


def test_messages_that_hold_anything_end_nothing(tmp_path: Path) -> None:
    schema = b'{"channels":["a"],"properties":{"a":{}}}'
    long, stamp = LONG.encode(), b'{"a":1,"header":{"stamp":{"sec":%s}}}'
    odd = [b'{"a":%s}' % long, b"[1,2]", b"[" * 100_000, b'{"a":"x"}', b"\xff"]
    stamps = [stamp % one for one in (long, b'"x"', b"[]", b"{}")]
    assert own(tmp_path / "a.mcap", schema, *odd, *stamps, b'{"a":2}') == [[1.0]] * len(stamps) + [[2.0]]


@pytest.mark.parametrize("schema", [b'{"channels":[],"properties":{}}', b"[" * 100_000, b"[]", b'{"channels":[1]}'])
def test_a_schema_without_channels_is_refused(schema: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        own(tmp_path / "a.mcap", schema, b'{"a":1}')
