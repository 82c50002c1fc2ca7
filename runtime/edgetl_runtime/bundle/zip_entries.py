"""The one form of zip that is read: what `write_bundle` writes, to the byte. Nothing overlaps and nothing hides.

Headers are compared with those that would be written (PKWARE APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16), so
that no changed byte is accepted, and no zip reader allocates what a header claims.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO, Dict, NamedTuple, Tuple

from edgetl_runtime.bundle.manifest import MAX_MEMBERS
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError

__all__ = ["MAX_BUNDLE_BYTES", "Entry", "read_directory", "read_entry"]

# What a zip without its 64-bit extension holds, with room for the headers.
MAX_BUNDLE_BYTES = (1 << 32) - (1 << 20)
MAX_ENTRIES = MAX_MEMBERS + 2  # manifest and signature
_MAX_NAME = 64
_VERSION, _UNIX, _JANUARY_1980, _PLAIN_FILE = 20, 3, 33, 0o600 << 16
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s2B5H3I5H2I")
_END = struct.Struct("<4s4H2IH")


class Entry(NamedTuple):
    """One member, as the directory has it."""

    name: str
    crc: int
    size_bytes: int
    offset: int


def read_directory(file: BinaryIO, size: int, what: str) -> Dict[str, Entry]:
    """The members by name, in order; raises BundleCorruptError or BundleFormatError."""
    if size > MAX_BUNDLE_BYTES:
        raise BundleFormatError(f"{what}: {size:,} bytes; at most {MAX_BUNDLE_BYTES:,} are read")
    file.seek(max(0, size - _END.size))
    end = file.read(_END.size)
    if len(end) < _END.size or end[:4] != b"PK\5\6":
        raise BundleCorruptError(f"{what}: truncated, or not a bundle; copy it again, it has {size} bytes here")
    count, directory_bytes, start = struct.unpack("<HII", end[10:20])
    if count > MAX_ENTRIES or directory_bytes > MAX_ENTRIES * (_CENTRAL.size + _MAX_NAME):
        raise BundleFormatError(f"{what}: a directory of {count} members; at most {MAX_ENTRIES} are read")
    if end != _END.pack(b"PK\5\6", 0, 0, count, count, directory_bytes, start, 0):
        raise BundleCorruptError(f"{what}: the end of the file is damaged, or it is no bundle; copy it again")
    if start + directory_bytes + _END.size != size:
        raise BundleFormatError(f"{what}: bytes that belong to no member; build the bundle again")
    file.seek(start)
    directory = file.read(directory_bytes)
    entries: Dict[str, Entry] = {}
    at = expected_offset = 0
    for _ in range(count):
        entry, at = _central(directory, at, what)
        if entry.name in entries or entry.offset != expected_offset:
            raise BundleFormatError(f"{what}: members overlap, repeat or leave gaps at {entry.name[:80]!r}")
        entries[entry.name] = entry
        expected_offset += _LOCAL.size + len(entry.name) + entry.size_bytes
    if at != len(directory) or expected_offset != start:
        raise BundleFormatError(f"{what}: bytes that belong to no member; build the bundle again")
    return entries


def read_entry(file: BinaryIO, entry: Entry, most: int, what: str, *, hashed: bool = False) -> bytes:
    """The bytes of a member, `most` at most; of one that is `hashed` by the caller the checksum is not computed."""
    if entry.size_bytes > most:
        raise BundleFormatError(f"{what}: {entry.name[:80]!r} has {entry.size_bytes} bytes; at most {most} are read")
    name = entry.name.encode("ascii")
    file.seek(entry.offset)
    said = (entry.crc, entry.size_bytes, entry.size_bytes, len(name), 0)
    if file.read(_LOCAL.size + len(name)) != _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _JANUARY_1980, *said) + name:
        raise BundleCorruptError(f"{what}: the local header of {entry.name[:80]!r} is damaged; copy it again")
    data = file.read(entry.size_bytes)
    if len(data) != entry.size_bytes:
        raise BundleCorruptError(f"{what}: truncated inside {entry.name[:80]!r}; copy it again")
    # All that guards the manifest of an unsigned bundle against a flipped bit.
    if not hashed and zlib.crc32(data) != entry.crc:
        raise BundleCorruptError(f"{what}: {entry.name[:80]!r} was changed or damaged; copy it again")
    return data


def _central(directory: bytes, at: int, what: str) -> Tuple[Entry, int]:
    header = directory[at : at + _CENTRAL.size]
    if len(header) < _CENTRAL.size or header[:4] != b"PK\1\2":
        raise BundleCorruptError(f"{what}: the directory is damaged; copy it again")
    fields = _CENTRAL.unpack(header)
    crc, packed_bytes, size_bytes, name_bytes = fields[8:12]
    name = directory[at + _CENTRAL.size : at + _CENTRAL.size + name_bytes]
    offset = fields[17]
    plain = (b"PK\1\2", _VERSION, _UNIX, _VERSION, 0, 0, 0, _JANUARY_1980, crc, size_bytes, size_bytes)
    if header != _CENTRAL.pack(*plain, len(name), 0, 0, 0, 0, _PLAIN_FILE, offset):
        raise BundleFormatError(
            f"{what}: member {os.fsdecode(name)[:80]!r} is compressed, encrypted, decorated or no plain file;"
            " copy it again, or build it again"
        )
    if packed_bytes != size_bytes or not name or not name.isascii() or name_bytes > _MAX_NAME:
        raise BundleFormatError(f"{what}: member name {os.fsdecode(name)[:80]!r} is not of the plain alphabet")
    return Entry(name.decode("ascii"), crc, size_bytes, offset), at + _CENTRAL.size + len(name)
