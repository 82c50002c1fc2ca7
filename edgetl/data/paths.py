"""Many file names in little memory: a million paths as one block of bytes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

__all__ = ["PathTable"]


class PathTable(Sequence[Path]):
    """N paths below `root`, some 8 bytes more than their letters each; a `Path` is made when one is asked for.

    Names that are absolute stay so.
    """

    def __init__(self, root: Path, names: Iterable[str] = ()) -> None:
        self.root = root
        self._text = bytearray()
        self._ends = array("q")
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        """One name more, at the end."""
        self._text += os.fsencode(name)
        self._ends.append(len(self._text))

    def name(self, index: int) -> str:
        """Name `index` (0 .. N - 1) as it was given."""
        return os.fsdecode(bytes(self._text[self._ends[index - 1] if index else 0 : self._ends[index]]))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"path {index} of {len(self)}")
        return self.root / self.name(place)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PathTable):
            return False
        return self.root == other.root and self._text == other._text and self._ends == other._ends

    def __hash__(self) -> int:
        return hash((self.root, bytes(self._text)))
