"""What the manifest parser takes, and that it takes nothing else."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from typing import Any, Callable, Dict, List, Tuple

import pytest
from edgetl_runtime.bundle.manifest import FORMAT, MAX_MANIFEST_BYTES, dump_manifest, parse_manifest
from edgetl_runtime.errors import BundleCorruptError, BundleError, BundleFormatError
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.windows import WindowSpec
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden

Document = Dict[str, Any]


def document() -> Document:
    return dict(json.loads(dump_manifest(golden.bundle().manifest)))


def parsed(data: Document) -> Any:
    return parse_manifest(json.dumps(data).encode())


def at(data: Any, path: Tuple[Any, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


def objects(data: Any, path: Tuple[Any, ...] = ()) -> List[Tuple[Any, ...]]:
    """Paths of all objects of the manifest that have fixed keys."""
    found = [path] if isinstance(data, dict) and path[-1:] not in (("members",),) else []
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        if key not in ("provenance", "notes"):
            found += objects(value, (*path, key))
    return found


KEYS = [(path, key) for path in objects(document()) for key in at(document(), path)]


def test_what_is_dumped_is_parsed_to_the_same() -> None:
    manifest = golden.bundle().manifest
    assert parse_manifest(dump_manifest(manifest)) == manifest
    assert manifest.variant(manifest.variants[0].name) == manifest.variants[0]
    with pytest.raises(BundleFormatError, match="no variant 'x'"):
        manifest.variant("x")


@pytest.mark.parametrize(("path", "key"), KEYS, ids=lambda value: str(value))
def test_every_key_must_be_there(path: Tuple[Any, ...], key: str) -> None:
    data = document()
    del at(data, path)[key]
    with pytest.raises(BundleFormatError):
        parsed(data)


@pytest.mark.parametrize("path", objects(document()), ids=str)
def test_an_unknown_key_is_refused_by_name(path: Tuple[Any, ...]) -> None:
    data = document()
    at(data, path)["surprise"] = 1
    with pytest.raises(BundleFormatError, match="surprise"):
        parsed(data)


@pytest.mark.parametrize(("path", "key"), KEYS, ids=lambda value: str(value))
def test_every_key_has_one_type(path: Tuple[Any, ...], key: str) -> None:
    right = at(document(), path)[key]
    for wrong in (None, True, 3, 2.5, "text", [], [None], {}, {"a": 1}):
        if type(wrong) is type(right) and not isinstance(wrong, (list, dict)):
            continue
        if key in ("targets", "notes", "provenance", "resize") and wrong in ([], {}, {"a": 1}, None):
            continue  # those are free, or may be empty
        data = document()
        at(data, path)[key] = wrong
        with pytest.raises(BundleFormatError):
            parsed(data)


RANGES: List[Tuple[str, Callable[[Document], Any]]] = [
    ("negative sequence", lambda d: d.update(sequence=-1)),
    ("huge sequence", lambda d: d.update(sequence=2**53 + 1)),
    ("empty name", lambda d: d.update(name="")),
    ("name of a path", lambda d: d.update(name="../x")),
    ("name with a line end", lambda d: d.update(name="a\n")),
    ("long name", lambda d: d.update(name="a" * 65)),
    ("no classes", lambda d: d.update(classes=[])),
    ("a class twice", lambda d: d.update(classes=["a", "a"])),
    ("an empty class", lambda d: d.update(classes=["", "a"])),
    ("a class of 257 bytes", lambda d: d.update(classes=["a" * 257, "b"])),
    ("a class with an escape sequence", lambda d: d.update(classes=["\x1b[2J", "b"])),
    ("a class of half a character", lambda d: d.update(classes=["\ud800", "b"])),
    ("a class that no label can match", lambda d: d.update(classes=["cafe\u0301", "b"])),
    ("a class of a number", lambda d: d.update(classes=["a", 1])),
    ("no variants", lambda d: d.update(variants=[])),
    ("a variant twice", lambda d: d["variants"].append(copy.deepcopy(d["variants"][0]))),
    ("65 targets", lambda d: d.update(targets=["x"] * 65)),
    ("tolerance 0", lambda d: d["variants"][0].update(feature_tolerance=0.0)),
    ("tolerance above 1", lambda d: d["variants"][0].update(feature_tolerance=1.5)),
    ("upper case hash", lambda d: d["variants"][0].update(feature_space="A" * 64)),
    ("short hash", lambda d: d["variants"][0].update(feature_space="a" * 63)),
    ("member outside", lambda d: d["variants"][0].update(extractor="../extractor.onnx")),
    ("member absolute", lambda d: d["variants"][0].update(extractor="/etc/passwd")),
    ("member in a folder", lambda d: d["variants"][0].update(extractor="a/b.onnx")),
    ("member hidden", lambda d: d["variants"][0].update(extractor=".onnx")),
    ("member look-alike", lambda d: d["variants"][0].update(extractor="e\u0445tractor.onnx")),
    ("member not listed", lambda d: d["variants"][0].update(extractor="other.onnx")),
    ("member listed and not named", lambda d: d["members"].update({"x.bin": {"size": 0, "sha256": "0" * 64}})),
    ("member lacking", lambda d: d["members"].pop("guard.safetensors")),
    ("member of negative size", lambda d: d["members"]["guard.safetensors"].update(size=-1)),
    ("member of 3 GiB", lambda d: d["members"]["guard.safetensors"].update(size=3 << 30)),
    ("65 members", lambda d: d["members"].update({f"m{i}": {"size": 0, "sha256": "0" * 64} for i in range(65)})),
    ("features in two dimensions", lambda d: d["variants"][0]["features"].update(shape=[1, 2, 3])),
    ("features of a batch", lambda d: d["variants"][0]["features"].update(shape=[2, 64])),
    ("features of no side", lambda d: d["variants"][0]["features"].update(shape=[1, 0])),
    ("features of 2^20 sides", lambda d: d["variants"][0]["features"].update(shape=[1, 1 << 20])),
    ("features in float64", lambda d: d["variants"][0]["features"].update(dtype="float64")),
    ("nine sides", lambda d: d["variants"][0]["input"].update(shape=[1] * 9)),
    ("another input than preprocessing gives", lambda d: d["variants"][0]["input"].update(shape=[1, 9, 8, 1])),
    ("unknown preprocess", lambda d: d.update(preprocess={"kind": "audio"})),
    ("unknown filter", lambda d: d["preprocess"].update(interpolation="magic")),
    ("no pixels", lambda d: d["preprocess"].update(height=0)),
    ("too many pixels", lambda d: d["preprocess"].update(height=1 << 20)),
]


@pytest.mark.parametrize("change", [change for _, change in RANGES], ids=[name for name, _ in RANGES])
def test_a_value_out_of_range_is_refused(change: Callable[[Document], Any]) -> None:
    data = document()
    change(data)
    with pytest.raises(BundleFormatError):
        parsed(data)


def test_a_member_cannot_stand_for_the_manifest() -> None:
    data = document()
    data["variants"][0]["extractor"] = "manifest.json"
    data["members"]["manifest.json"] = data["members"].pop("extractor.onnx")
    with pytest.raises(BundleFormatError):
        parsed(data)


@pytest.mark.parametrize(
    "version", [[FORMAT[0] + 1, 0], [FORMAT[0], FORMAT[1] + 1], [0, 9], [FORMAT[0], -1], [1], [1, 0, 0], []], ids=str
)
def test_another_format_is_refused_with_what_can_be_read(version: List[int]) -> None:
    data = document()
    data["format"] = version
    data["key_of_the_future"] = 1  # the version is judged first: the message must be about it
    with pytest.raises(BundleFormatError, match=r"reads 1\.0 to 1\.1"):
        parsed(data)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"format": NaN}',
        b'{"format": Infinity}',
        b'{"a": 1, "a": 1}',
        b'{"notes": {"a": 1, "a": 2}}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"notes": ' + b"[" * 100 + b"]" * 100 + b"}",
        b" " * (MAX_MANIFEST_BYTES + 1),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_not_strict_json_is_corrupt(text: bytes) -> None:
    with pytest.raises(BundleCorruptError):
        parse_manifest(text)


@pytest.mark.parametrize("text", [b"null", b"[]", b"1", b'"x"', b"{}"])
def test_json_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(BundleFormatError):
        parse_manifest(text)


def test_what_cannot_be_json_is_refused_before_it_is_written() -> None:
    import dataclasses

    for value in (float("nan"), object(), {1, 2}):
        manifest = dataclasses.replace(golden.bundle().manifest, provenance={"loss": value})
        with pytest.raises(BundleFormatError, match="provenance"):
            dump_manifest(manifest)


_WORDS = st.sampled_from(sorted(set(document()) | {"sha256", "size", "name", "shape", "kind", "image", "1", "a/b"}))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(KEYS), _VALUES)
def test_no_value_anywhere_escapes_as_another_error(place: Tuple[Tuple[Any, ...], str], value: Any) -> None:
    data = document()
    at(data, place[0])[place[1]] = value
    try:
        manifest = parsed(data)
    except BundleError:
        return
    assert parse_manifest(dump_manifest(manifest)) == manifest


@given(st.binary(max_size=200))
def test_no_bytes_escape_as_another_error(data: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(data)


@given(st.integers(0, len(dump_manifest(golden.bundle().manifest)) - 1), st.integers(0, 255))
def test_no_changed_byte_escapes_as_another_error(position: int, byte: int) -> None:
    data = bytearray(dump_manifest(golden.bundle().manifest))
    data[position] = byte
    with contextlib.suppress(BundleError):
        parse_manifest(bytes(data))


def test_how_a_stream_is_cut_into_samples_goes_there_and_back_as_1_1() -> None:
    manifest = golden.bundle().manifest
    window = WindowSpec(8, 4, 20.0, ("ax", "ay", "az"), ("g", "g", "g"))
    preprocess = ArrayPreprocess((8, 3), window)
    variants = tuple(dataclasses.replace(variant, input=preprocess.input) for variant in manifest.variants)
    windowed = dataclasses.replace(manifest, preprocess=preprocess, variants=variants)
    data = json.loads(dump_manifest(windowed))
    assert data["format"] == [1, 1] and parsed(data) == windowed
    with pytest.raises(BundleFormatError, match=r"format 1\.0"):
        parsed({**data, "format": [1, 0]})
    plain = dataclasses.replace(windowed, preprocess=ArrayPreprocess((8, 3)))
    assert json.loads(dump_manifest(plain))["format"] == [1, 0]  # which older runtimes read
