"""A bounded memory of the newest unlabelled features, in order of time."""

from __future__ import annotations

from typing import Any, Dict, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.statistics import checked_features

__all__ = ["Buffer"]

# float16 ends at 65504; larger features are clipped, not turned into infinity.
_LARGEST = 65504.0


class Buffer:
    """The newest features (N, D) in at most `size_bytes`, float16, each with its stamp in seconds.

    A sample less than `gap_s` after the last one kept is passed over: neighbouring frames say the same. Stamps
    are any clock that does not go back; one that does keeps the sample, as after a restart. O(D) a sample,
    memory (2 D + 8) N bytes.
    """

    def __init__(self, dim: int, size_bytes: int, gap_s: float = 0.0) -> None:
        if dim < 1 or size_bytes < 2 * dim:
            raise ValueError(f"one sample of D={dim} takes {2 * dim} bytes; size_bytes is {size_bytes}")
        self.dim, self.capacity, self.gap_s = int(dim), int(size_bytes) // (2 * int(dim)), float(gap_s)
        self._rows: NDArray[np.float16] = np.zeros((0, self.dim), np.float16)
        self._stamps: NDArray[np.float64] = np.zeros(0)
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def features(self) -> NDArray[np.float32]:
        """The features (N, D), the oldest first."""
        return self._rows[self._order()].astype(np.float32)

    @property
    def stamps(self) -> NDArray[np.float64]:
        """Their stamps (N) in seconds."""
        return self._stamps[self._order()]

    def add(self, feature: ArrayLike, stamp_s: float) -> bool:
        """Take one feature (D); whether it was kept. Raises SampleError."""
        row = checked_features(np.asarray(feature)[None], self.dim)[0]
        if self._size:
            since = stamp_s - float(self._stamps[(self._next - 1) % self.capacity])
            if 0.0 <= since < self.gap_s:
                return False
        if len(self._rows) < self.capacity and self._next == len(self._rows):
            room = min(self.capacity, max(16, 2 * len(self._rows)))
            self._rows = np.concatenate([self._rows, np.zeros((room - len(self._rows), self.dim), np.float16)])
            self._stamps = np.concatenate([self._stamps, np.zeros(room - len(self._stamps))])
        self._rows[self._next] = np.clip(row, -_LARGEST, _LARGEST)
        self._stamps[self._next] = stamp_s
        self._next = (self._next + 1) % self.capacity
        self._size = min(self._size + 1, self.capacity)
        return True

    def clear(self) -> None:
        """Forget everything, as when the domain is known to have changed."""
        self._next = self._size = 0

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays: `features` (N, D) float16 and `stamps` (N), the oldest first."""
        order = self._order()
        return {"features": self._rows[order], "stamps": self._stamps[order]}

    def metadata(self) -> Dict[str, Any]:
        """What `from_state` needs beside the arrays, as JSON has it."""
        return {"dim": self.dim, "capacity": self.capacity, "gap_s": self.gap_s}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Buffer:
        """The buffer of `state()` and `metadata()`; raises StatisticsError on anything else."""
        try:
            dim, capacity = int(metadata["dim"]), int(metadata["capacity"])
            result = cls(dim, 2 * dim * capacity, float(metadata["gap_s"]))
            rows, stamps = arrays["features"], arrays["stamps"]
            fits = rows.dtype == np.float16 and rows.ndim == 2 and rows.shape[1] == dim and len(rows) <= capacity
            if not fits or stamps.shape != (len(rows),) or not (np.isfinite(rows).all() and np.isfinite(stamps).all()):
                raise ValueError("its arrays do not fit its metadata")
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise StatisticsError(f"this is no buffer of unlabelled features: {error}") from error
        result._rows, result._stamps = np.array(rows), np.array(stamps, dtype=np.float64)
        result._size, result._next = len(rows), len(rows) % capacity
        return result

    def _order(self) -> NDArray[np.int64]:
        start = self._next - self._size
        return (np.arange(start, self._next) % self.capacity).astype(np.int64)
