"""Where the samples of a dataset lie: image files, or arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.images import read_image
from numpy.typing import NDArray

from edgetl.data.paths import PathTable

__all__ = ["ArrayReader", "ImageReader"]


@dataclass(frozen=True)
class ImageReader:
    """Image files."""

    paths: Sequence[Path]

    def name(self, index: int) -> str:
        """Its file."""
        return self.paths.name(index) if isinstance(self.paths, PathTable) else str(self.paths[index])

    def read(self, index: int) -> NDArray[Any]:
        """The frame; raises SourceError."""
        return read_image(self.paths[index])

    def content(self, index: int) -> bytes:
        """The bytes of the file; raises SourceError."""
        try:
            return self.paths[index].read_bytes()
        except OSError as error:
            raise SourceError(f"{self.paths[index]} cannot be read: {error}") from error


@dataclass(frozen=True)
class ArrayReader:
    """Samples in memory, one at an index."""

    samples: Any

    def read(self, index: int) -> NDArray[Any]:
        """The sample."""
        return np.asarray(self.samples[index])

    def content(self, index: int) -> bytes:
        """Its type, shape and numbers."""
        sample = self.read(index)
        return f"{sample.dtype.str}{sample.shape}".encode() + sample.tobytes()
