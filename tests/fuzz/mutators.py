"""Changes that keep an input's outer form right, so that a fuzzer gets past lengths, checksums and quotes.

Bytes changed blindly end at the first of these: of a safetensors file 20 inputs were worth keeping after a third of
a CPU-hour. Each function takes an input and a source of chance and gives another input; what is not of its format
comes back with bytes changed blindly.
"""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

__all__ = ["changed_bytes", "changed_frames", "changed_json", "changed_mcap", "changed_tensors", "changed_zip"]

_NUMBERS: List[Any] = [
    0, 1, -1, 2, 3, 7, 255, 256, 65535, 1 << 20, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 53, (1 << 63) - 1, 1 << 63,
    -(1 << 63), 1 << 64, 10**19, 0.0, -0.0, 0.5, 1.0, -1.5, 1e-320, 1e-30, 1e30, 3.4e38, 1e300, 1.7e308,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
_TEXTS = [
    "", " ", "a", "x" * 300, "\0", "\x1b[2J", "..", "../a", "/a", "C:\\a", "é", "\ud800", "‮", "NaN", "1", "-1",
    "float32", "float64", "int64", "uint8", "null", "__class__", "slda", "ridge", "a.b", "\n",
]  # fmt: skip
_VALUES: List[Any] = [*_NUMBERS, *_TEXTS, None, True, False, [], {}, [[]], [0], [None], {"": 0}]
_WEIGHTS = [0.0, -0.0, 1.0, -1.0, 1e-40, 1e-20, 1e10, 1e29, 1e30, 1.1e30, 3e38, float("nan"), float("inf")]


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or doubled."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 8, 32))
        kind = rng.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + length] = rng.choice((b"", b"\0" * length, b"\xff" * length))
        elif kind == 2:
            changed[at:at] = bytes(rng.randrange(256) for _ in range(length))
        else:
            changed[at:at] = changed[at : at + length]
    return bytes(changed)


def changed_json(data: bytes, rng: random.Random) -> bytes:
    """JSON with one to four of its values, keys or lists changed."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return changed_bytes(data, rng)
    text = json.dumps(changed_document(document, rng), separators=(",", ":")).encode()
    if rng.random() < 0.03:  # a key twice
        at = text.find(b"{", rng.randrange(len(text)))
        end = text.find(b",", at)
        if 0 <= at < end:
            text = text[: at + 1] + text[at + 1 : end] + b"," + text[at + 1 :]
    return text


def changed_document(document: Any, rng: random.Random) -> Any:
    """The same for a document that was read; it is changed in place where it can be."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = _places(document)
        if not places:
            return _hostile(rng)
        holder, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice([*_TEXTS, *holder])] = holder.pop(key)
        elif kind == 2:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        elif kind == 3 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 4 and isinstance(holder, dict):
            holder[rng.choice(_TEXTS)] = _hostile(rng)
        else:
            holder[key] = _another(holder[key], rng)
    return document


def _places(document: Any) -> List[Tuple[Any, Any]]:
    found: List[Tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(found) < 5000:
        value = waiting.pop()
        keys: Any = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            found.append((value, key))
            waiting.append(value[key])
    return found


def _another(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.3:
        return _hostile(rng)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([value + 1, value - 1, -value, 2 * value, value << 32, float(value), str(value), *_NUMBERS])
    if isinstance(value, float):
        return rng.choice([value / 2, -value, value * 1e20, str(value), *_NUMBERS])
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        inserted = value[:at] + rng.choice(_TEXTS) + value[at:]
        return rng.choice([inserted, value[at:], value[:at], value.upper(), [value]])
    if isinstance(value, list) and value:
        return rng.choice([value[:1], value[1:], value[::-1], value * 2, value[0], [value]])
    return _hostile(rng)


def _hostile(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_VALUES))


def changed_tensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose arrays, header or metadata are others, its lengths and offsets mostly right."""
    try:
        size = int.from_bytes(data[:8], "little")
        header: Dict[str, Any] = json.loads(data[8 : 8 + size])
        metadata = json.loads(header["__metadata__"]["edgetl"])
        arrays = {name: _array(data[8 + size :], row) for name, row in header.items() if name != "__metadata__"}
    except Exception:  # whatever an earlier change made of it
        return changed_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.randrange(4)
        if kind == 0 or not arrays:
            metadata = changed_document(metadata, rng)
        else:
            name = rng.choice(sorted(arrays))
            arrays[name] = _changed_array(arrays[name], rng)
            if kind == 2:
                arrays[rng.choice([*sorted(arrays), *_TEXTS, name + "s"])] = arrays.pop(name)
    return _packed(arrays, metadata, rng)


_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1", "BOOL": "|b1"}


def _array(body: bytes, row: Dict[str, Any]) -> np.ndarray[Any, Any]:
    start, stop = row["data_offsets"]
    return np.frombuffer(body[start:stop], _DTYPES[row["dtype"]]).reshape(row["shape"]).copy()


def _changed_array(array: np.ndarray[Any, Any], rng: random.Random) -> np.ndarray[Any, Any]:
    kind = rng.randrange(8)
    if kind == 0:
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(list(_DTYPES.values())))
    if kind == 1:
        return array.reshape(rng.choice([(-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1]]))
    if kind == 2 and array.ndim:
        return np.concatenate([array, array[:1]])
    if kind == 3 and array.ndim:
        return array[: rng.randrange(len(array) + 1)]
    if kind == 4 and array.ndim == 2:
        return np.ascontiguousarray(rng.choice([array.T, array[:, 1:], array[:, :1]]))
    flat = array.reshape(-1).copy()
    if flat.size:
        with np.errstate(all="ignore"):
            some = slice(None) if kind == 5 else rng.randrange(flat.size)
            value: Any = rng.choice(_WEIGHTS if flat.dtype.kind == "f" else [0, 1, -1, 2, 127])
            flat[some] = np.asarray(value).astype(flat.dtype) if kind != 6 else flat[some] * 2 + 1
    return flat.reshape(array.shape)


def _packed(arrays: Dict[str, np.ndarray[Any, Any]], metadata: Any, rng: random.Random) -> bytes:
    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: Dict[str, Any] = {"__metadata__": {"edgetl": json.dumps(metadata)}}
    body = b""
    # The library wants the widest first, as it writes them.
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize):
        header[name] = {
            "dtype": names[array.dtype.str], "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + array.nbytes],
        }  # fmt: skip
        body += array.tobytes()
    if rng.random() < 0.1:
        header = changed_document(header, rng)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    size = rng.choice([0, 1, len(text) - 1, len(text) + 8, 1 << 40, (1 << 64) - 1])
    return struct.pack("<Q", len(text) if rng.random() > 0.02 else size) + text + body


def changed_zip(data: bytes, rng: random.Random) -> bytes:
    """A zip with other members or other headers, its checksums right; JSON in place of a zip is changed as JSON."""
    if data[:1] != b"P":
        return changed_json(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [(info, archive.read(info)) for info in archive.infolist()]
    except Exception:  # zipfile raises nearly anything on what an earlier change made
        return changed_bytes(data, rng)
    kind = rng.randrange(6)
    at = rng.randrange(len(files)) if files else 0
    if kind == 0 and files:
        files.insert(rng.randrange(len(files)), files[at])
    elif kind == 1 and files:
        del files[at]
    elif kind == 2 and files:
        files[at][0].filename = rng.choice(["a", "manifest.json", "manifest.sig", "../a", "/a", "a\\b", "é", "x" * 70])
    elif kind == 3 and files:
        _change_header(files[at][0], rng)
    elif files:
        change = changed_json if files[at][1][:1] == b"{" else changed_bytes
        files[at] = (files[at][0], change(files[at][1], rng))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # a name twice is what is wanted
        if rng.random() < 0.05:
            archive.comment = b"x"
        for info, content in files:
            archive.writestr(info, content)
    written = buffer.getvalue()
    return changed_bytes(written, rng) if rng.random() < 0.3 else written


def _change_header(info: zipfile.ZipInfo, rng: random.Random) -> None:
    changes: List[Tuple[str, List[Any]]] = [
        ("compress_type", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]), ("extra", [b"\1\0\0\0", b"\1\0\4\0abcd"]),
        ("comment", [b"x"]), ("date_time", [(1990, 1, 1, 0, 0, 0)]), ("create_system", [0, 10]),
        ("external_attr", [0, 0o777 << 16, 0xA1FF << 16, 16]), ("internal_attr", [1]), ("flag_bits", [1, 8, 0x800]),
    ]  # fmt: skip
    name, values = rng.choice(changes)
    setattr(info, name, rng.choice(values))


def changed_mcap(data: bytes, rng: random.Random) -> bytes:
    """A recording with other records, or others in their content; lengths and checksums of chunks stay right."""
    records = _records(data[8:])
    if data[:8] != _MAGIC or not records:
        return changed_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2))):
        records = _changed_records(records, rng)
    return _MAGIC + _joined(records) + data[-8:]


_MAGIC = b"\x89MCAP0\r\n"
_CHUNK = 6
_Records = List[Tuple[int, bytes]]


def _records(body: bytes) -> _Records:
    found, at = [], 0
    while at + 9 <= len(body):
        size = int.from_bytes(body[at + 1 : at + 9], "little")
        if at + 9 + size > len(body):
            break
        found.append((body[at], body[at + 9 : at + 9 + size]))
        at += 9 + size
    return found


def _joined(records: _Records) -> bytes:
    return b"".join(struct.pack("<BQ", code, len(content)) + content for code, content in records)


def _changed_records(records: _Records, rng: random.Random) -> _Records:
    records = list(records)
    at, kind = rng.randrange(len(records)), rng.randrange(8)
    code, content = records[at]
    if kind == 0:
        records.insert(rng.randrange(len(records)), records[at])
    elif kind == 1 and len(records) > 1:
        del records[at]
    elif kind == 2:
        records[at] = (rng.randrange(1, 17), content)
    else:
        records[at] = (code, _changed_chunk(content, rng) if code == _CHUNK else _changed_record(content, rng))
    return records


def _changed_chunk(content: bytes, rng: random.Random) -> bytes:
    """Another content of an uncompressed chunk, told rightly; of a compressed one any bytes."""
    start = 32 + int.from_bytes(content[28:32], "little") + 8
    inner = _records(content[start:])
    if content[28:32] != b"\0\0\0\0" or not inner or rng.random() < 0.1:
        return changed_bytes(content, rng)
    body = _joined(_changed_records(inner, rng))
    crc = zlib.crc32(body) if content[24:28] != b"\0\0\0\0" else 0
    return content[:16] + struct.pack("<QII", len(body), crc, 0) + struct.pack("<Q", len(body)) + body


def _changed_record(content: bytes, rng: random.Random) -> bytes:
    """Text in it changed with its length, or bytes: schemas and JSON messages are text."""
    brace = content.find(b"{")
    if brace >= 0 and rng.random() < 0.7:
        text = changed_json(content[brace:], rng)
        length = struct.pack("<I", len(text))
        told = content[brace - 4 : brace] == struct.pack("<I", len(content) - brace)
        return (content[: brace - 4] + length if told else content[:brace]) + text
    return changed_bytes(content, rng)


def changed_frames(data: bytes, rng: random.Random, whole: Callable[[int, random.Random], bytes]) -> bytes:
    """A stream of serial bytes with `whole` frames of its kind, its first byte, put between or for what it has."""
    if len(data) < 2 or rng.random() < 0.1:
        return changed_bytes(data, rng)
    at, stop = sorted((rng.randrange(2, len(data) + 1), rng.randrange(2, len(data) + 1)))
    frame = whole(data[0], rng)
    if rng.random() < 0.2:
        frame = changed_bytes(frame, rng)
    return data[:at] + frame + (data[at:] if rng.random() < 0.5 else data[stop:])
