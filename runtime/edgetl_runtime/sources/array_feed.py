"""`numpy://`: arrays in a .npy or .npz file.

    numpy://runs.npz?data=walk/x&stamps=walk/t_ms&stamp_unit=ms&channels=ax,ay,az&units=g,g,g
    numpy://frames.npy?rate_hz=30

(N, C) numbers are vectors, (N, H, W) or (N, H, W, 3) uint8 are frames. Without stamps a rate is needed.
"""

from __future__ import annotations

import zipfile
from typing import Any, List, Mapping, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing.schema import STAMP_UNITS
from edgetl_runtime.sources.feed import About, Sample
from edgetl_runtime.sources.uri import Uri

__all__ = ["ArrayFeed", "load"]

_BLOCK = 64
_MOST_BYTES = 1 << 30  # of a compressed array


def load(uri: Uri) -> ArrayFeed:
    """The feed of a `numpy://` address."""
    try:
        archive = np.load(uri.path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise SourceError(f"{uri.path} cannot be read as an array: {error}") from error
    keys = {name: uri.option(name) for name in ("data", "stamps", "labels")}
    unit = uri.choice("stamp_unit", ("s", *(unit for unit in STAMP_UNITS if unit != "s")))
    rate_hz = uri.number("rate_hz")
    if isinstance(archive, np.ndarray):
        if any(keys.values()):
            raise SourceError(f"{uri.path} holds one array: data, stamps and labels are for .npz")
        return ArrayFeed(uri.name, archive, None, uri.words("channels"), uri.words("units"), rate_hz)
    with archive:
        found = {name: _member(archive, key, uri.path) for name, key in keys.items() if key or name == "data"}
    try:
        stamps = found["stamps"].astype(np.float64) * STAMP_UNITS[unit] if "stamps" in found else None
    except (TypeError, ValueError) as error:
        raise SourceError(f"{uri.path}: the stamps are no numbers: {error}") from error
    labels = [str(label) for label in found["labels"]] if "labels" in found else None
    return ArrayFeed(uri.name, found["data"], stamps, uri.words("channels"), uri.words("units"), rate_hz, labels)


def _member(archive: Any, key: str, path: str) -> NDArray[Any]:
    key = key or (archive.files[0] if len(archive.files) == 1 else "")
    if key not in archive.files:
        raise SourceError(f"{path} has no array {key!r}; say data=NAME, one of {', '.join(archive.files[:20])}")
    try:
        packed = next(one for one in archive.zip.infolist() if one.filename in (key, f"{key}.npy"))
        if packed.file_size > _MOST_BYTES:
            raise ValueError(f"it has {packed.file_size:,} bytes unpacked; at most {_MOST_BYTES:,} are read")
        array: NDArray[Any] = archive[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise SourceError(f"{path}: the array {key!r} is damaged: {error}") from error
    return array


class ArrayFeed:
    """N samples of an array in memory, in order."""

    connected = True

    def __init__(
        self,
        name: str,
        data: Any,
        stamps_s: Any = None,
        channels: Sequence[str] = (),
        units: Sequence[str] = (),
        rate_hz: Optional[float] = None,
        labels: Optional[Sequence[str]] = None,
    ) -> None:
        array = np.asarray(data)
        frames = array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3))
        if not frames and (array.ndim != 2 or array.dtype.kind not in "fiu"):
            raise SourceError(
                f"{name}: samples must be (N, C) numbers, or frames (N, H, W) or (N, H, W, 3) uint8;"
                f" got {array.shape} {array.dtype}"
            )
        if stamps_s is None and not rate_hz:
            raise SourceError(f"{name}: without stamps a rate is needed: rate_hz=NUMBER")
        stamps = np.arange(len(array)) / (rate_hz or 1.0) if stamps_s is None else np.asarray(stamps_s, np.float64)
        if stamps.shape != (len(array),):
            raise SourceError(f"{name}: {len(array)} samples, stamps of shape {stamps.shape}; one a sample is needed")
        if labels is not None and len(labels) != len(array):
            raise SourceError(f"{name}: {len(array)} samples and {len(labels)} labels; one a sample is needed")
        width = 0 if frames else array.shape[1]
        names = tuple(channels) or tuple(str(column) for column in range(width))
        if (not frames and len(names) != width) or (units and len(units) != width):
            raise SourceError(f"{name}: {width} columns, {len(names)} channels, {len(units)} units; one each is needed")
        array = array if frames else array.astype(np.float64)
        self._array, self._stamps, self._labels, self._next = array, stamps, labels, 0
        self.about = About(
            name, "frame" if frames else "vector", () if frames else names, tuple(units), rate_hz=rate_hz
        )

    @property
    def drops(self) -> Mapping[str, int]:
        """Nothing is lost here."""
        return {}

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next block."""
        start = self._next
        if start >= len(self._array):
            return None
        self._next = min(start + (_BLOCK if self.about.kind == "vector" else 1), len(self._array))
        block = range(start, self._next)
        labels = [(self._labels[index] or None) if self._labels else None for index in block]
        return [
            Sample(self._array[index], float(self._stamps[index]), label=label)
            for index, label in zip(block, labels)
        ]

    def close(self) -> None:
        """Let go of the array."""
        self._array = self._array[:0]
