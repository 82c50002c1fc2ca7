"""Is the end of a journal missing? SQLite ends a journal silently at the first frame that does not check.

That is right for a change that a power cut interrupted, and wrong for a flipped bit in the middle of acknowledged
changes; the two cannot always be told apart, so either is said. Format: https://sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["frames_begun"]

_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_PAGE_SIZES = tuple(1 << power for power in range(9, 17))
_FLIPPED_BITS = 2  # salts are random: one that is this close was the same


def frames_begun(path: Path) -> int:
    """How many frames of the journal beside the state file `path` were written since it was begun, intact or not."""
    journal = Path(f"{path}-wal")
    if not journal.exists():
        return 0
    with journal.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return 0
        page_bytes, salt = struct.unpack(">8xI4xQ8x", header)
        if page_bytes not in _PAGE_SIZES:
            page_bytes = 4096
        count = 0
        position = _HEADER_BYTES
        while True:
            file.seek(position)
            frame = file.read(_FRAME_HEADER_BYTES)
            if len(frame) < _FRAME_HEADER_BYTES:
                return count
            count += bin(struct.unpack(">8xQ8x", frame)[0] ^ salt).count("1") <= _FLIPPED_BITS
            position += _FRAME_HEADER_BYTES + page_bytes
