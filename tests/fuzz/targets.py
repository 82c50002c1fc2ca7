"""What is fuzzed: each parser of foreign bytes as a function of bytes that raises EdgetlError or nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from tests.fuzz import tensor_readers
from tests.fuzz.mutators import (
    changed_bytes,
    changed_frames,
    changed_json,
    changed_mcap,
    changed_tensors,
    changed_zip,
)

__all__ = ["TARGETS", "Target", "schema_of"]

Function = Callable[[bytes], object]


class Target(NamedTuple):
    """`load` imports what it needs and gives the function; `seeds` are inputs to begin with.

    `change` makes another input of one, its outer form right. `rooms` are the parts of the runtime that it tries,
    `most_bytes` the longest input.
    """

    load: Callable[[], Function]
    seeds: Callable[[], Sequence[bytes]]
    change: Callable[[bytes, random.Random], bytes]
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


def schema_of(data: bytes) -> Dict[str, Any]:
    """The schema that the first byte of an input of `frames` chooses; the second says where it is cut in two."""
    return _SCHEMAS[data[0] % len(_SCHEMAS)]


def _frames() -> Function:
    from edgetl_runtime.framing import open_decoder, parse_schema

    def read(data: bytes) -> None:
        if not data:
            return
        decoder = open_decoder(parse_schema(schema_of(data)))
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


def _whole_frame(kind: int, rng: random.Random) -> bytes:
    """A frame of the schema of that number with any values, its checksum right."""
    from edgetl_runtime.framing import encode_frame
    from edgetl_runtime.framing.checksums import CHECKSUMS

    kind %= len(_SCHEMAS)
    length = rng.choice((6, 6, 6, 6, 6, 6, 5, 40))
    payload = bytes(rng.choice((0, 1, 127, 128, 255, rng.randrange(256))) for _ in range(length))
    some = ["0", "-1.5", "4807.038"] if rng.random() < 0.7 else ["1e308", "1e-400", "9" * 30, "nan", "", "1_0", "+.5"]
    number = rng.choice(some)
    if kind == 0:
        return encode_frame(payload, rng.randrange(1 << 16), rng.randrange(1 << 32), rng.choice((0, 0, 0, 1)))
    if kind in (1, 2):
        sync = bytes.fromhex(_SCHEMAS[kind]["sync"])
        crc = CHECKSUMS["crc16-ccitt"].value(payload).to_bytes(2, "little")
        return sync + payload + (crc if kind == 1 else b"")
    if kind == 5:
        line = f"GPRMC,1,A,{number},{rng.choice('NSEW')},2,E,{number},{rng.choice(['084.4', ''])},1".encode()
        return b"$%s*%02X\r\n" % (line, CHECKSUMS["xor8"].value(line))
    line = f"{rng.choice(['', '', 'a:', 'b:'])}{number},{rng.choice(['', 'b:'])}{number}".encode()
    return line + (b"*%08x" % CHECKSUMS["crc32"].value(line) if kind == 4 else b"") + rng.choice((b"\n", b"\r\n"))


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


def _tokenizer() -> Function:
    from edgetl_runtime.errors import EdgetlError, EngineUnavailableError
    from edgetl_runtime.text import tokens_of

    texts = ["turn on the light", "\u0130\ufb03 e\u0301 \U0001f600", "9" * 300, "[SEP] ##s a'll", "\u4e00\u0e01"]

    def read(data: bytes) -> None:
        tokens_of.cache_clear()
        try:
            tokens = tokens_of(data, 64, 8)
        except EngineUnavailableError:  # no package tokenizers: the reader is ours and was tried
            return
        for text in texts:
            with contextlib.suppress(EdgetlError):
                ids = tokens.ids(text)
                if len(ids) > 8 or not all(0 <= number < 64 for number in ids):
                    raise RuntimeError(f"the ids {ids}")

    return read


def _tokenizers() -> List[bytes]:
    """One in the manner of BERT, and one each with the other models and parts that are read."""
    from tests.runtime.texts import tokenizer, tokenizer_bytes

    words = tokenizer()["model"]["vocab"]
    letters = {letter: number for number, letter in enumerate(dict.fromkeys("abcdefghijklmnoprstuvw"))}
    others: List[Dict[str, Any]] = [
        {"model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}, "pre_tokenizer": {"type": "Whitespace"}},
        {"model": {"type": "BPE", "vocab": {**letters, "th": 40, "the": 41}, "merges": ["t h", "th e"]},
         "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["on", -2.5]]},
         "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}},
        {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Prepend", "prepend": "a"}]},
         "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
             {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Isolated"}]},
         "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}},
    ]  # fmt: skip
    return [tokenizer_bytes(), *(tokenizer_bytes(**{"added_tokens": [], "post_processor": None, **o}) for o in others)]


def _changed_signature(data: bytes, rng: random.Random) -> bytes:
    return (changed_json if data[:1] == b"{" else changed_bytes)(data, rng)


def _changed_frames(data: bytes, rng: random.Random) -> bytes:
    return changed_frames(data, rng, _whole_frame)


_BUNDLE = ("bundle",)
_LEARNT = ("bundle", "heads", "statistics", "adapt", "teaching", "observing")
TARGETS: Dict[str, Target] = {
    "manifest": Target(_manifest, _manifests, changed_json, _BUNDLE),
    "container": Target(_container, _containers, changed_zip, _BUNDLE),
    "tensors": Target(tensor_readers.read_all, tensor_readers.seeds, changed_tensors, _LEARNT),
    "tokenizer": Target(_tokenizer, _tokenizers, changed_json, ("text",), 8192),
    "signature": Target(_signature, _signatures, _changed_signature, _BUNDLE, 4096),
    "frames": Target(_frames, _frame_bytes, _changed_frames, ("framing",), 4096),
    "schema": Target(
        _schema, lambda: [json.dumps(table).encode() for table in _SCHEMAS], changed_json, ("framing",)
    ),
    "recording": Target(_recording, _recordings, changed_mcap, ("sources",), 8192),
}
