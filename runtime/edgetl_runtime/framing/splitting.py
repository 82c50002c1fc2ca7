"""A stream of bytes cut at a delimiter, with a bounded memory."""

from __future__ import annotations

from typing import List

__all__ = ["Splitter"]


class Splitter:
    """Bytes in, whatever lies between two delimiters out; an unfinished piece of up to `most_bytes` waits.

    With `from_the_middle` the first piece is thrown away, because its beginning may have been missed: needed
    where the content has no checksum.
    """

    def __init__(self, delimiter: bytes, most_bytes: int, from_the_middle: bool = False) -> None:
        self._delimiter = delimiter
        self._most_bytes = most_bytes
        self._from_the_middle = from_the_middle
        self.too_long = 0
        self.reset()

    @property
    def waiting_bytes(self) -> int:
        """What is kept until more comes."""
        return len(self._tail)

    def reset(self) -> None:
        """Forget the unfinished piece: the line was cut."""
        self._tail = b""
        self._skipping = self._from_the_middle

    def feed(self, data: bytes) -> List[bytes]:
        """The pieces (without delimiters, some empty) that `data` finishes."""
        pieces = (self._tail + data).split(self._delimiter)
        tail = pieces.pop()
        if self._skipping and pieces:
            del pieces[0]
            self._skipping = False
        if len(tail) > self._most_bytes:
            if not self._skipping:
                self.too_long += 1
            self._skipping = True
        # While skipping, only what may be the beginning of a delimiter is kept.
        self._tail = tail[len(tail) - len(self._delimiter) + 1 :] if self._skipping else tail
        return pieces
