"""The file around a bundle: an uncompressed zip of exactly the members that its manifest names.

Reading order: size-capped manifest and signature, verify, parse, then every member once through its hash;
those bytes are the ones that are used, the path is never opened again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, List, Mapping, Optional, Union

from edgetl_runtime.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_MEMBERS,
    Manifest,
    Member,
    dump_manifest,
    parse_manifest,
)
from edgetl_runtime.bundle.signature import MAX_SIGNATURE_BYTES, named_key, sign_manifest, verify_manifest
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError, BundleUnsignedError, SourceError

__all__ = ["Bundle", "read_bundle", "remove_file", "replace_file", "sync_folder", "write_bundle"]

_MANIFEST = "manifest.json"
_SIGNATURE = "manifest.sig"
_LOCAL_HEADER, _CENTRAL_HEADER, _END_RECORD, _ZIP64_LOCATOR = 30, 46, 22, 20
_MAX_NAME = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
# What a zip without its 64-bit extension holds, with room for the headers.
MAX_BUNDLE_BYTES = (1 << 32) - (1 << 20)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every byte was checked against its manifest.

    `id` is the sha256 of the manifest, which pins every member. `signed_by` is the id of the trusted key,
    or None. `members` holds the verified bytes by name. `size_bytes` is the size of the file. `claims_key` is
    the id of the key that its signature names, judged or not: None when it is not signed.
    """

    id: str
    manifest: Manifest
    signed_by: Optional[str]
    members: Dict[str, bytes]
    size_bytes: int
    claims_key: Optional[str] = None


def write_bundle(
    path: Union[str, Path], manifest: Manifest, members: Mapping[str, bytes], private_pem: Optional[bytes] = None
) -> str:
    """Write the bundle atomically and return its id; sizes and hashes of `members` are filled in here.

    Raises BundleFormatError for what the reader would refuse, BundleSignatureError for a wrong key, SourceError
    when it cannot be written; then no file is there that was not there before.
    """
    listed = {name: Member(len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(members.items())}
    complete = dataclasses.replace(manifest, members=listed)
    text = dump_manifest(complete)
    parse_manifest(text)  # whatever the reader would refuse is refused before it is written
    files = {_MANIFEST: text}
    if private_pem is not None:
        files[_SIGNATURE] = sign_manifest(text, private_pem)
    files.update({name: members[name] for name in listed})
    total = sum(len(data) for data in files.values())
    if total > MAX_BUNDLE_BYTES:
        raise BundleFormatError(f"the bundle would have {total:,} bytes; at most {MAX_BUNDLE_BYTES:,} can be written")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    replace_file(Path(path), buffer.getvalue())
    return hashlib.sha256(text).hexdigest()


def replace_file(path: Path, data: bytes) -> None:
    """Write a whole file so that a power cut leaves the old one or the new one."""
    temporary = path.with_name(f".{os.getpid()}.tmp")
    try:
        remove_file(temporary)  # of a process that had this id before a power cut
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            remove_file(temporary)


def remove_file(path: Path) -> None:
    """Remove a file that may be there (Python 3.8 cannot say so itself)."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable; without it a power cut can lose a file that was synced itself."""
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bundle(
    path: Union[str, Path], *, trusted: Optional[Mapping[str, bytes]] = None, allow_unsigned: bool = True
) -> Bundle:
    """Read and check a bundle without a state.

    `trusted` maps key ids to raw public keys; None inspects without judging a signature. With
    `allow_unsigned=False` a bundle without a signature is refused. Raises BundleError, or SourceError
    when there is no such file.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file, str(path), trusted, allow_unsigned)
    except OSError as error:
        raise SourceError(f"cannot read the bundle {path}: {error.strerror or error}") from error


def _read(file: BinaryIO, what: str, trusted: Optional[Mapping[str, bytes]], allow_unsigned: bool) -> Bundle:
    size = os.fstat(file.fileno()).st_size
    _check_end(file, size, what)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OverflowError, struct.error, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # Python 3.8 seeks where the bytes say
            raise
        raise BundleCorruptError(
            f"{what}: truncated, or not a bundle ({error}); copy it again, it has {size} bytes here"
        ) from error
    infos = archive.infolist()
    _check_layout(infos, archive.start_dir, size, what)
    by_name = {info.filename: info for info in infos}
    if _MANIFEST not in by_name:
        raise BundleCorruptError(f"{what}: no {_MANIFEST} inside; this is not a bundle")
    text = _member(file, by_name[_MANIFEST], MAX_MANIFEST_BYTES, what)
    signed_by = claims_key = None
    if _SIGNATURE in by_name:
        signature = _member(file, by_name[_SIGNATURE], MAX_SIGNATURE_BYTES, what)
        claims_key = named_key(signature)
        if trusted is not None:
            signed_by = verify_manifest(text, signature, trusted)
    elif not allow_unsigned:
        raise BundleUnsignedError(
            f"{what} is not signed. Build it with --key, or open it on purpose with"
            " --allow-unsigned (allow_unsigned=True in Python)"
        )
    manifest = parse_manifest(text)
    if set(by_name) - {_MANIFEST, _SIGNATURE} != set(manifest.members):
        raise BundleCorruptError(f"{what}: holds {sorted(by_name)}, its manifest names {sorted(manifest.members)}")
    members = {}
    for name, member in manifest.members.items():
        info = by_name[name]
        if info.file_size != member.size_bytes:
            raise BundleCorruptError(
                f"{what}: {name} has {info.file_size} bytes, the manifest says {member.size_bytes}"
            )
        data = _member(file, info, member.size_bytes, what)
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise BundleCorruptError(
                f"{what}: {name} does not match its hash: it was changed or damaged; copy it again"
            )
        members[name] = data
    return Bundle(hashlib.sha256(text).hexdigest(), manifest, signed_by, members, size, claims_key)


def _check_end(file: BinaryIO, size: int, what: str) -> None:
    """How much a directory may make the zip reader allocate is known before that reader sees the file."""
    if size > MAX_BUNDLE_BYTES:
        raise BundleFormatError(f"{what}: {size:,} bytes; at most {MAX_BUNDLE_BYTES:,} are read")
    tail = _END_RECORD + _ZIP64_LOCATOR
    file.seek(max(0, size - tail))
    data = file.read(tail)
    end = data[-_END_RECORD:]
    if len(end) < _END_RECORD or end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0":
        raise BundleCorruptError(f"{what}: truncated, or not a bundle; copy it again, it has {size} bytes here")
    count, directory_bytes = struct.unpack("<HI", end[10:16])
    most = (MAX_MEMBERS + 2) * (_CENTRAL_HEADER + _MAX_NAME)
    if data[:4] == b"PK\x06\x07" or count > MAX_MEMBERS + 2 or directory_bytes > most:
        raise BundleFormatError(f"{what}: a directory of {count} members; at most {MAX_MEMBERS + 2} are read")


def _check_layout(infos: List[zipfile.ZipInfo], directory_start: int, size: int, what: str) -> None:
    """Exactly what `write_bundle` writes: stored members back to back, so nothing overlaps and nothing hides."""
    if len(infos) > MAX_MEMBERS + 2:
        raise BundleFormatError(f"{what}: {len(infos)} members; at most {MAX_MEMBERS + 2} are read")
    expected_offset = 0
    names = set()
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ~0x800 or info.extra or info.comment:
            raise BundleFormatError(f"{what}: member {info.filename[:80]!r} is compressed, encrypted or decorated")
        if info.filename in names or info.header_offset != expected_offset or info.file_size != info.compress_size:
            raise BundleFormatError(f"{what}: members overlap, repeat or leave gaps at {info.filename[:80]!r}")
        names.add(info.filename)
        expected_offset += _LOCAL_HEADER + len(info.filename.encode("utf-8")) + info.file_size
    directory = sum(_CENTRAL_HEADER + len(info.filename.encode("utf-8")) for info in infos)
    if directory_start != expected_offset or size != directory_start + directory + _END_RECORD:
        raise BundleFormatError(f"{what}: bytes that belong to no member; build the bundle again")


def _member(file: BinaryIO, info: zipfile.ZipInfo, most: int, what: str) -> bytes:
    if info.file_size > most:
        raise BundleFormatError(f"{what}: {info.filename[:80]!r} has {info.file_size} bytes; at most {most} are read")
    name = info.filename.encode("utf-8")
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER + len(name))
    said = (info.CRC, info.compress_size, info.file_size, len(name), 0)
    if header[:4] != b"PK\x03\x04" or header[14:30] != struct.pack("<IIIHH", *said) or header[30:] != name:
        raise BundleCorruptError(f"{what}: the local header of {info.filename[:80]!r} is damaged; copy it again")
    data = file.read(info.file_size)
    if len(data) != info.file_size:
        raise BundleCorruptError(f"{what}: truncated inside {info.filename[:80]!r}; copy it again")
    if zlib.crc32(data) != info.CRC:  # all that guards the manifest of an unsigned bundle against a flipped bit
        raise BundleCorruptError(f"{what}: {info.filename[:80]!r} was changed or damaged; copy it again")
    return data
