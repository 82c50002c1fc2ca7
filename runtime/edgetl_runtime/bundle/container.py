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
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Mapping, Optional, Union

from edgetl_runtime.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    TOKENIZER,
    Manifest,
    Member,
    dump_manifest,
    parse_manifest,
)
from edgetl_runtime.bundle.signature import MAX_SIGNATURE_BYTES, named_key, sign_manifest, verify_manifest
from edgetl_runtime.bundle.zip_entries import MAX_BUNDLE_BYTES, read_directory, read_entry
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError, BundleUnsignedError, SourceError
from edgetl_runtime.preprocess import TextPreprocess

__all__ = ["Bundle", "open_plain", "read_bundle", "remove_file", "replace_file", "sync_folder", "write_bundle"]

_MANIFEST = "manifest.json"
_SIGNATURE = "manifest.sig"
_EPOCH = (1980, 1, 1, 0, 0, 0)


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
        with open_plain(path) as file:
            return _read(file, str(path), trusted, allow_unsigned)
    except OSError as error:
        raise SourceError(f"cannot read the bundle {path}: {error.strerror or error}") from error


def open_plain(path: Union[str, Path]) -> BinaryIO:
    """A regular file to read; OSError for anything else. Never waits, as opening a pipe would."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "rb")


def _read(file: BinaryIO, what: str, trusted: Optional[Mapping[str, bytes]], allow_unsigned: bool) -> Bundle:
    size = os.fstat(file.fileno()).st_size
    by_name = read_directory(file, size, what)
    if _MANIFEST not in by_name:
        raise BundleCorruptError(f"{what}: no {_MANIFEST} inside; this is not a bundle")
    text = read_entry(file, by_name[_MANIFEST], MAX_MANIFEST_BYTES, what)
    signed_by = claims_key = None
    if _SIGNATURE in by_name:
        signature = read_entry(file, by_name[_SIGNATURE], MAX_SIGNATURE_BYTES, what)
        claims_key = named_key(signature)
        if trusted is not None:
            signed_by = verify_manifest(text, signature, trusted)
    elif not allow_unsigned:
        raise BundleUnsignedError(
            f"{what} is not signed. Sign it on the host (edgetl sign), or open it on purpose with"
            " --allow-unsigned (allow_unsigned=True in Python)"
        )
    manifest = parse_manifest(text)
    if set(by_name) - {_MANIFEST, _SIGNATURE} != set(manifest.members):
        raise BundleCorruptError(f"{what}: holds {sorted(by_name)}, its manifest names {sorted(manifest.members)}")
    members = {}
    for name, member in manifest.members.items():
        entry = by_name[name]
        if entry.size_bytes != member.size_bytes:
            raise BundleCorruptError(
                f"{what}: {name} has {entry.size_bytes} bytes, the manifest says {member.size_bytes}"
            )
        data = read_entry(file, entry, member.size_bytes, what, hashed=True)
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise BundleCorruptError(
                f"{what}: {name} does not match its hash: it was changed or damaged; copy it again"
            )
        members[name] = data
    if isinstance(manifest.preprocess, TextPreprocess):
        preprocess = dataclasses.replace(manifest.preprocess, content=members[TOKENIZER])
        manifest = dataclasses.replace(manifest, preprocess=preprocess)
    return Bundle(hashlib.sha256(text).hexdigest(), manifest, signed_by, members, size, claims_key)
