"""The attacks: a name, the bytes that an attacker hands over, and the error that must come back."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import pickle
import struct
import zipfile
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

import numpy as np
from edgetl_runtime.bundle.signature import sign_manifest, sign_payload

from tests.attacks.forge import (
    REVOKED,
    STRANGER,
    TRUSTED,
    bundle,
    entries,
    extractor_of,
    key_pair,
    manifest_of,
    tensors_of,
    zipped,
)
from tests.attacks.members import MEMBERS
from tests.runtime import boards, golden, texts
from tests.runtime.engines import test_graph as graphs

__all__ = ["ATTACKS", "Attack"]


class Attack(NamedTuple):
    """`make` gives the file; `error` is the class that refuses it.

    `installed` is a bundle that this device runs already, `board` the files of the board that it is.
    """

    make: Callable[[], bytes]
    error: str
    installed: Optional[Callable[[], bytes]] = None
    board: Optional[Mapping[str, bytes]] = None


ATTACKS: Dict[str, Attack] = {}
HEAD = "head.fp32.safetensors"


def attack(name: str, error: str, make: Callable[[], bytes], **device: Any) -> None:
    assert name not in ATTACKS, name
    ATTACKS[name] = Attack(make, error, **device)


def raw() -> bytes:
    return bundle()


def renamed(new: str, old: str = "guard.safetensors") -> Callable[[], bytes]:
    """One member under another name, in the zip only."""
    return lambda: zipped([(new if name == old else name, data) for name, data in entries()])


def with_header(change: Callable[[zipfile.ZipInfo], Any], only: Optional[str] = None) -> Callable[[], bytes]:
    return lambda: zipped(entries(), lambda info: change(info) if only in (None, info.filename) else None)


def patched(marker: bytes, offset: int, value: bytes, last: bool = False) -> Callable[[], bytes]:
    """Bytes overwritten at an offset from the first (or last) occurrence of a zip record."""

    def make() -> bytes:
        data = bytearray(raw())
        at = (data.rfind(marker) if last else data.find(marker)) + offset
        data[at : at + len(value)] = value
        return bytes(data)

    return make


def changed(change: Callable[[Dict[str, Any]], Any]) -> Callable[[], bytes]:
    return lambda: bundle(manifest=change)


def texted(make: Callable[[str], str]) -> Callable[[], bytes]:
    """The manifest as text, changed by hand and signed as it then stands."""
    return lambda: bundle(text=make(json.dumps(json.loads(dict(entries())["manifest.json"]))).encode())


# -- no bundle at all
attack("nothing", "BundleCorruptError", lambda: b"")
attack("a script", "BundleCorruptError", lambda: b"#!/bin/sh\nreboot\n" * 40)
attack("gzip of a bundle", "BundleCorruptError", lambda: gzip.compress(raw()))
attack("bzip2 of a bundle", "BundleCorruptError", lambda: bz2.compress(raw()))
attack("a pickle", "BundleCorruptError", lambda: pickle.dumps({"a": 1}) * 10)
attack("cut in the middle", "BundleCorruptError", lambda: raw()[: len(raw()) // 2])
attack("cut before its last byte", "BundleCorruptError", lambda: raw()[:-1])
attack("bytes after it", "BundleCorruptError", lambda: raw() + b"\0" * 64)
attack("bytes before it", "BundleFormatError", lambda: b"\x7fELF" + b"\0" * 60 + raw())

# -- the container lies
attack("a comment", "BundleCorruptError", lambda: zipped(entries(), comment=b"x" * 40))
attack("deflated members", "BundleFormatError", lambda: zipped(entries(), compression=zipfile.ZIP_DEFLATED))
attack("lzma members", "BundleFormatError", lambda: zipped(entries(), compression=zipfile.ZIP_LZMA))
attack(
    "a bomb of zeros",
    "BundleFormatError",
    lambda: zipped([*entries(), ("bomb", bytes(64 << 20))], compression=zipfile.ZIP_DEFLATED),
)
attack("an encrypted member", "BundleFormatError", patched(b"PK\x01\x02", 8, b"\x01\x00"))
attack("a member twice", "BundleFormatError", lambda: zipped([*entries(), entries()[-1]]))
attack("members that overlap", "BundleFormatError", patched(b"PK\x01\x02", 42, b"\0\0\0\0", last=True))
attack("a gap between members", "BundleFormatError", lambda: raw().replace(b"PK\x01\x02", b"\0" * 8 + b"PK\x01\x02", 1))
attack("a larger size in the directory", "BundleFormatError", patched(b"PK\x01\x02", 24, b"\xff\xff\xff\x7f"))
attack("four gigabytes in the directory", "BundleFormatError", patched(b"PK\x01\x02", 20, b"\xfe\xff\xff\xff" * 2))
attack("another size in the local header", "BundleCorruptError", patched(b"PK\x03\x04", 22, b"\xff\xff\0\0"))
attack("another name in the local header", "BundleCorruptError", patched(b"PK\x03\x04", 30, b"MANIFEST"))
attack("another checksum in the local header", "BundleCorruptError", patched(b"PK\x03\x04", 14, b"\0\0\0\0"))
attack("a directory of 65,000 members", "BundleFormatError", patched(b"PK\x05\x06", 8, b"\xff\xfd" * 2, last=True))
attack("a directory of two gigabytes", "BundleFormatError", patched(b"PK\x05\x06", 12, b"\0\0\0\x80", last=True))
attack("an extra field", "BundleFormatError", with_header(lambda info: setattr(info, "extra", b"\x99\x99\x04\0abcd")))
attack("a member's comment", "BundleFormatError", with_header(lambda info: setattr(info, "comment", b"hello")))
attack("a symbolic link", "BundleFormatError", with_header(lambda i: setattr(i, "external_attr", 0o120777 << 16), HEAD))
attack("a device file", "BundleFormatError", with_header(lambda i: setattr(i, "external_attr", 0o060666 << 16), HEAD))
attack("a set-uid program", "BundleFormatError", with_header(lambda i: setattr(i, "external_attr", 0o104755 << 16), HEAD))


def zip64() -> bytes:
    data = raw()
    at = data.rfind(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 40, 0)
    return data[:at] + record + b"PK\x06\x07" + struct.pack("<IQI", 0, at, 1) + data[at:]


attack("a 64-bit directory that lies", "BundleFormatError", zip64)
attack(
    "a thousand members", "BundleFormatError", lambda: zipped([*entries(), *((f"m{i}", b"") for i in range(1000))])
)
for spelling in (
    "../guard.safetensors", "/etc/cron.d/guard", "a/../../guard", "..\\guard", "C:\\guard", "a//b", "./guard",
    "guard.safetensors/", "GUARD.safetensors", "guаrd.safetensors", "guard.safetensors ", "guard%2fx", "~/guard",
    "\u202eguard", "guard\u0000.safetensors", "x" * 300, "",
):  # fmt: skip
    attack(f"a member named {spelling[:40]!r}", "BundleError", renamed(spelling))

# -- the manifest lies
attack("no manifest", "BundleCorruptError", lambda: zipped([e for e in entries() if e[0] != "manifest.json"]))
attack("a manifest that is no JSON", "BundleCorruptError", lambda: bundle(text=b"{'a': 1}"))
attack("a manifest that is no text", "BundleCorruptError", lambda: bundle(text=b"\xff\xfe\x00"))
attack("a manifest nested 100,000 deep", "BundleCorruptError", lambda: bundle(text=b"[" * 100_000 + b"]" * 100_000))
attack("a number of 500,000 digits", "BundleCorruptError", texted(lambda t: t.replace('"sequence": 1', '"sequence": ' + "9" * 500_000)))
attack("NaN", "BundleCorruptError", texted(lambda t: t.replace('"notes": {}', '"notes": {"a": NaN}')))
attack("an endless float", "BundleCorruptError", texted(lambda t: t.replace('"notes": {}', '"notes": {"a": 1e999}')))
attack("a key twice", "BundleCorruptError", texted(lambda t: t.replace('"notes": {}', '"notes": {}, "notes": {}')))
attack("a manifest of 2 MB", "BundleFormatError", changed(lambda m: m["notes"].update(x="y" * (2 << 20))))
attack("an unknown key", "BundleFormatError", changed(lambda m: m.update(run="reboot")))
attack("a missing key", "BundleFormatError", changed(lambda m: m.pop("preprocess")))
attack("a list for an object", "BundleFormatError", changed(lambda m: m.update(members=[])))
attack("true for a number", "BundleFormatError", changed(lambda m: m.update(sequence=True)))
attack("format 2.0", "BundleFormatError", changed(lambda m: m.update(format=[2, 0])))
attack("format 1.99", "BundleFormatError", changed(lambda m: m.update(format=[1, 99])))
attack("format -1", "BundleFormatError", changed(lambda m: m.update(format=[1, -1])))
attack("a name with a path", "BundleFormatError", changed(lambda m: m.update(name="../../etc")))
attack("a name that a terminal obeys", "BundleFormatError", changed(lambda m: m.update(name="a\x1b[2Jb")))
attack("a sequence beyond all others", "BundleFormatError", changed(lambda m: m.update(sequence=2**63)))
attack("a class that a terminal obeys", "BundleFormatError", changed(lambda m: m["classes"].__setitem__(0, "\x1b]0;x\x07")))
attack("a class twice", "BundleFormatError", changed(lambda m: m["classes"].__setitem__(0, m["classes"][1])))
attack("no classes", "BundleFormatError", changed(lambda m: m.update(classes=[])))
attack("70,000 classes", "BundleFormatError", changed(lambda m: m.update(classes=[f"c{i}" for i in range(70_000)])))
attack("it names itself", "BundleFormatError", changed(lambda m: m["members"].update({"manifest.json": {"size": 0, "sha256": "0" * 64}})))
attack("it names a file that is not there", "BundleFormatError", changed(lambda m: m["members"].update(more={"size": 0, "sha256": "0" * 64})))
attack("a file that it does not name", "BundleCorruptError", lambda: zipped([*entries(), ("more", b"x")]))
attack("a member is another size", "BundleCorruptError", changed(lambda m: m["members"][HEAD].update(size=7)))
attack("a member is another file", "BundleCorruptError", changed(lambda m: m["members"][HEAD].update(sha256="0" * 64)))
attack("a member of negative size", "BundleFormatError", changed(lambda m: m["members"][HEAD].update(size=-1)))
attack("a member of 2**60 bytes", "BundleFormatError", changed(lambda m: m["members"][HEAD].update(size=1 << 60)))
attack("a hash that is no hash", "BundleFormatError", changed(lambda m: m["members"][HEAD].update(sha256="../" * 21 + "x")))
attack("features of 2**31", "BundleFormatError", changed(lambda m: m["variants"][0]["features"].update(shape=[1, 1 << 31])))
attack("an input of 2**72 bytes", "BundleError", changed(lambda m: m["variants"][0]["input"].update(shape=[1 << 24] * 3)))
attack("an input of 100 sides", "BundleFormatError", changed(lambda m: m["variants"][0]["input"].update(shape=[1] * 100)))
attack("any feature will do", "BundleFormatError", changed(lambda m: m["variants"][0].update(feature_tolerance=1e9)))
attack("another feature space", "BundleCorruptError", changed(lambda m: m["variants"][0].update(feature_space="ab" * 32)))
attack("no variants", "BundleFormatError", changed(lambda m: m.update(variants=[])))
attack("a variant twice", "BundleFormatError", changed(lambda m: m["variants"].append(m["variants"][0])))
attack("the head for a graph", "BundleError", changed(lambda m: m["variants"][0].update(extractor=HEAD)))
attack("preprocessing that nobody knows", "BundleFormatError", changed(lambda m: m["preprocess"].update(kind="eval")))


# -- the signature lies
def signed_other(make: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    def forged() -> bytes:
        text = dict(entries())["manifest.json"]
        return bundle(text=text, signature=make(text))

    return forged


def another_type(text: bytes) -> bytes:
    key, signature = sign_payload("application/vnd.edgetl.trust.v1+json", text, key_pair(TRUSTED)[0])
    claim = json.loads(sign_manifest(text, key_pair(TRUSTED)[0]))
    return json.dumps({**claim, "key": key, "signature": signature}).encode()


def claims_trusted(text: bytes) -> bytes:
    claim = json.loads(sign_manifest(text, key_pair(STRANGER)[0]))
    return json.dumps({**claim, "key": key_pair(TRUSTED)[2]}).encode()


def claim_with(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda text: json.dumps({**json.loads(sign_manifest(text, key_pair(TRUSTED)[0])), **fields}).encode()


attack("nobody signed it", "BundleUnsignedError", lambda: bundle(signer=None))
attack("a stranger signed it", "BundleSignatureError", lambda: bundle(signer=STRANGER))
attack("a revoked key signed it", "BundleSignatureError", lambda: bundle(signer=REVOKED))
attack("a stranger who claims to be trusted", "BundleSignatureError", signed_other(claims_trusted))
attack("signed as something else", "BundleSignatureError", signed_other(another_type))
attack("the signature of another bundle", "BundleSignatureError", signed_other(lambda text: sign_manifest(text + b" ", key_pair(TRUSTED)[0])))
attack("an empty signature", "BundleSignatureError", signed_other(claim_with(signature="")))
attack("a signature of zeros", "BundleSignatureError", signed_other(claim_with(signature=base64.b64encode(bytes(64)).decode())))
attack("a signature that is no text", "BundleSignatureError", signed_other(claim_with(signature=[1, 2])))
attack("a signature of another type", "BundleSignatureError", signed_other(claim_with(type="text/plain")))
attack("a signature with more to say", "BundleSignatureError", signed_other(claim_with(also="this")))
attack("a signature of 100 kB", "BundleFormatError", signed_other(lambda text: b" " * 100_000))
attack("a signature nested deep", "BundleSignatureError", signed_other(lambda text: b"[" * 4000))

# -- rightly signed, and not for this device now
def release(sequence: int, signer: Optional[int] = TRUSTED, **fields: Any) -> Callable[[], bytes]:
    return lambda: bundle(manifest=lambda manifest: manifest.update(sequence=sequence, **fields), signer=signer)


five, nano = release(5), boards.ORIN_NANO
attack("an older release", "BundleDowngradeError", release(4), installed=five)
attack("the first release", "BundleDowngradeError", release(0), installed=release(2**53))
attack("the same sequence, other content", "BundleDowngradeError", release(5, notes={"x": 1}), installed=five)
attack("an older release of a stranger", "BundleSignatureError", release(4, STRANGER), installed=five)
attack("an older release of a revoked key", "BundleSignatureError", release(4, REVOKED), installed=five)
attack("an older release that nobody signed", "BundleUnsignedError", release(4, None), installed=five)
attack("a bundle for another board", "BundleDeviceError", release(1, targets=["raspberry-pi-5"]), board=nano)
attack("a bundle for a board with a path", "BundleDeviceError", release(1, targets=["../cpu"]), board=nano)

# -- the members lie, rightly signed
for member in (HEAD, "guard.safetensors", "golden.safetensors", "extractor.onnx"):
    attack(f"a pickle for {member}", "EdgetlError", lambda member=member: bundle({member: pickle.dumps([1] * 100)}))  # type: ignore[misc]


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, weights=np.zeros(1 << 22))
    return buffer.getvalue()


def tensors(header: Any, body: bytes = b"", size: Optional[int] = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def head(change: Callable[[Dict[str, Any]], Any]) -> Callable[[], bytes]:
    return lambda: bundle({HEAD: tensors_of(HEAD, change)})


def filled(value: float) -> Callable[[Dict[str, Any]], None]:
    def change(arrays: Dict[str, Any]) -> None:
        for array in arrays.values():
            if array.dtype.kind == "f":
                array[...] = value

    return change


def first_like(arrays: Dict[str, Any], word: str) -> str:
    return next(name for name in sorted(arrays) if word in name)


def reshaped(arrays: Dict[str, Any]) -> None:
    name = max(arrays, key=lambda key: arrays[key].size)
    arrays[name] = arrays[name].reshape(-1)[:-1]


def retyped(arrays: Dict[str, Any]) -> None:
    name = max(arrays, key=lambda key: arrays[key].size)
    arrays[name] = arrays[name].astype(np.float16)


attack("an npz bomb for a head", "BundleCorruptError", lambda: bundle({HEAD: npz()}))
attack("weights of NaN", "BundleCorruptError", head(filled(np.nan)))
attack("weights of infinity", "BundleCorruptError", head(filled(np.inf)))
attack("weights of 1e38", "BundleCorruptError", head(filled(1e38)))
attack("an array of another shape", "BundleCorruptError", head(reshaped))
attack("an array of another type", "BundleCorruptError", head(retyped))
attack("an array too many", "BundleCorruptError", head(lambda arrays: arrays.update(more=np.zeros(3))))
attack("no arrays", "BundleCorruptError", head(lambda arrays: arrays.clear()))
attack("a header of 2**60 bytes", "BundleCorruptError", lambda: bundle({HEAD: tensors({}, size=1 << 60)}))
attack("a header of 100 MB of blanks", "BundleCorruptError", lambda: bundle({HEAD: tensors(b" " * 64, size=100 << 20)}))
attack("a tensor of 2**62 elements", "BundleCorruptError", lambda: bundle({HEAD: tensors({"a": {"dtype": "F32", "shape": [1 << 31, 1 << 31], "data_offsets": [0, 4]}}, b"\0" * 4)}))
attack("tensors that overlap", "BundleCorruptError", lambda: bundle({HEAD: tensors({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, b"\0" * 4)}))
attack("a hole between tensors", "BundleCorruptError", lambda: bundle({HEAD: tensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8)}))
attack("a tensor name twice", "BundleCorruptError", lambda: bundle({HEAD: tensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4)}))
attack("the guard set of labels that are not", "BundleError", lambda: bundle({"guard.safetensors": tensors_of("guard.safetensors", lambda a: a["labels"].fill(99))}))
attack("golden samples that decide otherwise", "BundleParityError", lambda: bundle({"golden.safetensors": tensors_of("golden.safetensors", lambda a: a["decisions"].__iadd__(1).__imod__(9))}))
attack("golden features of another network", "BundleParityError", lambda: bundle({"golden.safetensors": tensors_of("golden.safetensors", lambda a: [a[k].__imul__(-1) for k in a if k.startswith("features")])}))
attack("golden samples of another shape", "BundleError", lambda: bundle({"golden.safetensors": tensors_of("golden.safetensors", lambda a: a.update({"sample.0": np.zeros((3, 3), np.float64)}))}))



# -- what members of format 1.1 carry lies, rightly signed
for named, (error, make) in MEMBERS.items():
    attack(named, error, make)

# -- the graph lies, rightly signed
for named, graph in graphs.ATTACKS.items():
    attack(f"a graph: {named}", "EngineError", lambda graph=graph: extractor_of(graph))  # type: ignore[misc]


def external(location: bytes) -> Callable[[], bytes]:
    entry = graphs.field(1, b"location") + graphs.field(2, location)
    constant = graphs.tensor(b"w", [2], more=graphs.field(13, entry) + graphs.field(14, 1))
    return lambda: extractor_of(graphs.model(graphs.node(b"Relu", (b"w",)), constants=(constant,)))


LOCATIONS: List[bytes] = [
    b"../secret.bin", b"in/../../secret.bin", b"/etc/hostname", b"link-to-secret", b"linked/secret.bin", b"hard-link",
]  # fmt: skip
for location in LOCATIONS:
    attack(f"external data at {location.decode()}", "EngineError", external(location))
attack(
    "200,000 nodes",
    "EngineError",
    lambda: extractor_of(graphs.model(*([graphs.node(b"Relu", (b"x",))] * 200_000))),
)
attack("a graph with other names", "BundleFormatError", lambda: bundle(manifest=lambda m: m["variants"][0]["features"].update(name="other")))
attack("a graph cut short", "EngineError", lambda: extractor_of(golden.bundle().members["extractor.onnx"][:-9]))
def told_text(**changes: Any) -> Callable[[], bytes]:
    """The golden bundle made one of text, rightly hashed and signed, with that in its tokenizer.json."""
    return tokenized(lambda: texts.tokenizer_bytes(**changes))


def tokenized(make: Callable[[], bytes]) -> Callable[[], bytes]:
    def forged() -> bytes:
        content = make()
        takes = texts.preprocess(content)

        def change(document: Dict[str, Any]) -> None:
            document["format"] = [1, 1]
            document["preprocess"], document["classes"] = takes.to_json(), ["lights", "music"]
            document["variants"][0]["input"] = {"name": "text", "dtype": "float32", "shape": [1, texts.LENGTH]}
            features = {"name": "features", "dtype": "float32", "shape": [1, texts.DIM]}
            document["variants"][0].update(features=features, feature_space=texts.SPACE)

        return bundle({"extractor.onnx": texts.graph(), HEAD: texts.head_bytes(), "tokenizer.json": content}, change)

    return forged


DOUBLED = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
attack("a tokenizer that doubles a text 30 times", "BundleFormatError", told_text(normalizer={"type": "Sequence", "normalizers": [DOUBLED] * 30}))
attack("a tokenizer that fills up to 2**40 tokens", "BundleFormatError", told_text(padding={"strategy": {"Fixed": 1 << 40}, "direction": "Right", "pad_id": 0}))
attack("a tokenizer with a regular expression without end", "BundleFormatError", told_text(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}))
attack("a tokenizer of a million lists", "BundleFormatError", tokenized(lambda: b'{"model":[' + b"[]," * 1_000_000 + b"[]]}"))
attack("a tokenizer nested 100,000 deep", "BundleCorruptError", tokenized(lambda: b'{"model":' * 100_000 + b"1" + b"}" * 100_000))
attack("a tokenizer of 9 MB", "BundleFormatError", tokenized(lambda: b" " * 9_000_000))
attack("a tokenizer whose ids are beyond the encoder", "BundleFormatError", told_text(added_tokens=[{"id": 1 << 20, "content": "far"}]))

assert manifest_of()["name"] == golden.bundle().manifest.name
