"""The file around a bundle: read whole and unchanged, or refused."""

from __future__ import annotations

import io
import os
import random
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from edgetl_runtime.bundle import read_bundle, write_bundle
from edgetl_runtime.bundle.manifest import MAX_MANIFEST_BYTES, dump_manifest
from edgetl_runtime.errors import BundleCorruptError, BundleError, BundleUnsignedError, EdgetlError, SourceError
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden

RAW = golden.BUNDLE.read_bytes()


def refused(path: Path, data: bytes) -> BundleError:
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    return caught.value


def zipped(
    files: Optional[List[Tuple[str, bytes]]] = None,
    change: Optional[Callable[[zipfile.ZipInfo], Any]] = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """The golden bundle zipped by hand, so that every rule of the container can be broken alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in golden_files() if files is None else files:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            if change is not None:
                change(info)
            archive.writestr(info, data)
    return buffer.getvalue()


def golden_files() -> List[Tuple[str, bytes]]:
    with zipfile.ZipFile(str(golden.BUNDLE)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def test_a_bundle_zipped_by_hand_in_the_same_way_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zipped())
    assert read_bundle(tmp_path / "x").id == golden.bundle().id


def test_writing_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    found = golden.bundle()
    assert write_bundle(tmp_path / "again.edgetl", found.manifest, found.members) == found.id
    assert (tmp_path / "again.edgetl").read_bytes() == RAW
    assert [path.name for path in tmp_path.iterdir()] == ["again.edgetl"]


def test_truncated_anywhere_it_is_refused(tmp_path: Path) -> None:
    lengths = {*range(0, len(RAW), 1024), *range(len(RAW) - 1024, len(RAW))}
    for length in sorted(lengths):
        error = refused(tmp_path / "cut", RAW[:length])
        assert str(tmp_path / "cut") in str(error)


def test_of_two_thousand_changed_bytes_none_changes_what_is_accepted(tmp_path: Path) -> None:
    draw = random.Random(2)
    path = tmp_path / "flipped"
    accepted = 0
    for _ in range(2000):
        data = bytearray(RAW)
        data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
        path.write_bytes(bytes(data))
        try:
            found = read_bundle(path)
        except BundleError:
            continue
        accepted += 1
        assert found == golden.bundle()
    assert accepted < 100  # only dates and the like in the headers of the zip may differ


def test_of_all_changes_in_its_headers_none_changes_what_is_accepted(tmp_path: Path) -> None:
    """Headers are few bytes among many, so chance hardly meets them: every byte of them is changed here."""
    with zipfile.ZipFile(str(golden.BUNDLE)) as archive:
        starts = [info.header_offset for info in archive.infolist()]
        directory = archive.start_dir
    places = [start + i for start in starts for i in range(30)] + list(range(directory, len(RAW)))
    path = tmp_path / "flipped"
    for place in places:
        for mask in (0x01, 0xFF):
            data = bytearray(RAW)
            data[place] ^= mask
            path.write_bytes(bytes(data))
            try:
                assert read_bundle(path) == golden.bundle()
            except EdgetlError as error:
                assert isinstance(error, BundleError), place


FILES = golden_files()
MANIFEST = dict(FILES)["manifest.json"]


def _more(name: str, data: bytes = b"x") -> List[Tuple[str, bytes]]:
    return [*FILES, (name, data)]


BROKEN: Dict[str, Callable[[], bytes]] = {
    "compressed": lambda: zipped(compression=zipfile.ZIP_DEFLATED),
    "a comment on a member": lambda: zipped(change=lambda info: setattr(info, "comment", b"hello")),
    "extra fields": lambda: zipped(change=lambda info: setattr(info, "extra", struct.pack("<HHI", 0x7075, 4, 1))),
    "an extra member": lambda: zipped(_more("extra.bin")),
    "a member outside": lambda: zipped(_more("../../evil")),
    "a folder": lambda: zipped(_more("folder/", b"")),
    "a member with a zero byte": lambda: zipped(_more("a\x00b")),
    "a member with a look-alike name": lambda: zipped(_more("manife\u0455t.json")),
    "a member with another case": lambda: zipped(_more("MANIFEST.JSON")),
    "a member twice": lambda: _twice(),
    "a missing member": lambda: zipped(FILES[:-1]),
    "no manifest": lambda: zipped(FILES[1:]),
    "no members": lambda: zipped([]),
    "a hundred members": lambda: zipped(FILES + [(f"m{i}", b"") for i in range(100)]),
    "two members exchanged": lambda: zipped(
        [(name, dict(FILES)["golden.safetensors"] if name == "guard.safetensors" else data) for name, data in FILES]
    ),
    "a member changed by hand": lambda: zipped([(n, _turned(d) if n == "guard.safetensors" else d) for n, d in FILES]),
    "an emptied member": lambda: zipped([(n, b"" if n == "extractor.onnx" else d) for n, d in FILES]),
    "another manifest": lambda: zipped([("manifest.json", MANIFEST + b" " * MAX_MANIFEST_BYTES), *FILES[1:]]),
    "bytes before": lambda: b"#!/bin/sh\n" + RAW,
    "bytes after": lambda: RAW + b"\0",
    "a second end": lambda: RAW + RAW[-22:],
    "a comment": lambda: RAW[:-2] + struct.pack("<H", 4) + b"abcd",
    "a gap": lambda: _gapped(),
    "no zip": lambda: b"PK" + os.urandom(1000),
    "an empty file": lambda: b"",
    "only an end": lambda: RAW[-22:],
    "a bundle in a bundle": lambda: zipped([("manifest.json", RAW)]),
    "a pickle": lambda: b"\x80\x04\x95" + b"\0" * 100,
}


def _turned(data: bytes) -> bytes:
    """As long, and the zip will carry the right CRC: only the manifest's hash knows."""
    return data[:-1] + bytes([data[-1] ^ 1])


def _twice() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the zipfile module warns, and does it
        return zipped(_more("guard.safetensors"))


def _gapped() -> bytes:
    """Eight bytes that no member owns between two members, with every offset set right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, data) in enumerate(FILES):
            if number == 1:
                assert archive.fp is not None
                archive.fp.write(b"\0" * 8)
                archive.start_dir += 8
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    with zipfile.ZipFile(buffer) as archive:
        assert [archive.read(info) for info in archive.infolist()] == [data for _, data in FILES]
    return buffer.getvalue()


@pytest.mark.parametrize("make", list(BROKEN.values()), ids=list(BROKEN))
def test_anything_but_the_plain_form_is_refused(make: Callable[[], bytes], tmp_path: Path) -> None:
    refused(tmp_path / "x", make())


def test_a_header_that_lies_about_its_member_is_refused(tmp_path: Path) -> None:
    for offset, value in ((14, b"\1\1\1\1"), (18, b"\1\1\1\1"), (22, b"\1\1\1\1"), (28, b"\4\0")):
        data = RAW[:offset] + value + RAW[offset + len(value) :]
        assert isinstance(refused(tmp_path / "x", data), BundleCorruptError)


def test_what_is_not_there_or_no_file_is_a_source_error(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(SourceError, match="cannot read the bundle"):
            read_bundle(path)


def test_unsigned_is_refused_where_it_is_not_allowed() -> None:
    assert golden.bundle().signed_by is None
    with pytest.raises(BundleUnsignedError, match="--allow-unsigned"):
        read_bundle(golden.BUNDLE, trusted={}, allow_unsigned=False)


def test_what_the_reader_would_refuse_is_not_written(tmp_path: Path) -> None:
    found = golden.bundle()
    for members in ({}, {**found.members, "extra.bin": b""}, {**found.members, "../x": b""}):
        with pytest.raises(BundleError):
            write_bundle(tmp_path / "x.edgetl", found.manifest, members)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_writing_replaces_whole_files_only_and_survives_what_a_dead_process_left(tmp_path: Path) -> None:
    found = golden.bundle()
    target = tmp_path / "x.edgetl"
    target.write_bytes(b"old")
    (tmp_path / f".{os.getpid()}.tmp").write_bytes(b"left by a process that had this id")
    write_bundle(target, found.manifest, found.members)
    assert target.read_bytes() == RAW
    assert [path.name for path in tmp_path.iterdir()] == ["x.edgetl"]


def test_a_folder_that_cannot_be_written_is_a_source_error(tmp_path: Path) -> None:
    found = golden.bundle()
    (tmp_path / "folder.edgetl").mkdir()
    for target in (tmp_path / "none" / "x.edgetl", tmp_path / "folder.edgetl"):
        with pytest.raises(SourceError, match="cannot write"):
            write_bundle(target, found.manifest, found.members)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.edgetl"]


def test_the_manifest_pins_every_byte(tmp_path: Path) -> None:
    import hashlib

    found = golden.bundle()
    assert found.id == hashlib.sha256(dump_manifest(found.manifest)).hexdigest()
    for name, member in found.manifest.members.items():
        assert hashlib.sha256(found.members[name]).hexdigest() == member.sha256
    other = golden.changed_bundle(tmp_path / "x", sequence=found.manifest.sequence + 1)
    assert read_bundle(other).id != found.id


SMALL = zipped([("manifest.json", b'{"members": {}}'), ("manifest.sig", b"{}"), ("a.bin", b"bytes"), ("b.bin", b"")])


@given(
    edits=st.lists(
        st.tuples(st.integers(0, 1 << 16), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=4
    ),
    whole=st.booleans(),
)
def test_whatever_is_cut_out_put_in_or_written_over_is_refused_as_a_bundle(
    edits: List[Tuple[int, int, bytes]], whole: bool
) -> None:
    right = RAW if whole else SMALL
    changed = right
    for position, cut, put in edits:
        at = position % (len(changed) + 1)
        changed = changed[:at] + put + changed[at + cut :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.edgetl"
        path.write_bytes(changed)
        try:
            read_bundle(path)
        except BundleError:
            return
    assert changed == RAW
