"""The unlabelled features a session keeps: the newest, thinned, numbered, in bounded memory."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, Deque, Dict, Mapping, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.adapt import Buffer
from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from edgetl_runtime.errors import EdgetlError, StatisticsError
from edgetl_runtime.observing.policy import ObservePolicy

__all__ = ["Seen", "Window"]


@dataclass(frozen=True)
class Window:
    """What is kept now: features (N, D) float32, stamps (N) in seconds, numbers (N), the oldest first."""

    features: NDArray[np.float32]
    stamps: NDArray[np.float64]
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.features)


class Seen:
    """A buffer whose samples have numbers, from 1 on, by which a person can be asked about them. O(D) a sample."""

    def __init__(self, dim: int, policy: ObservePolicy) -> None:
        self._policy = policy
        size_bytes = max(2 * dim, min(policy.most_bytes, 2 * dim * policy.most_samples))
        self._buffer = Buffer(dim, size_bytes, policy.gap_s)
        self._numbers: Deque[int] = collections.deque(maxlen=self._buffer.capacity)
        self.kept = self.passed_over = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def add(self, feature: ArrayLike, stamp_s: Optional[float]) -> Optional[int]:
        """Take one feature (D,); its number, or None where it comes too soon after the last one kept.

        Without a stamp it is no neighbour of the one before. Raises SampleError.
        """
        if stamp_s is None:
            last = self._buffer.stamps[-1:] if len(self._buffer) else np.zeros(1)
            stamp_s = float(last[0]) + self._policy.gap_s
        if not self._buffer.add(feature, stamp_s):
            self.passed_over += 1
            return None
        self.kept += 1
        self._numbers.append(self.kept)
        return self.kept

    def window(self) -> Window:
        """A copy of all that is kept."""
        return Window(self._buffer.features, self._buffer.stamps, np.array(self._numbers, dtype=np.int64))

    def clear(self) -> None:
        """Forget every sample; numbers go on."""
        self._buffer.clear()
        self._numbers.clear()

    def pack(self) -> bytes:
        """Safetensors bytes of all that is kept."""
        arrays: Dict[str, NDArray[Any]] = dict(self._buffer.state())
        arrays["numbers"] = np.array(self._numbers, dtype=np.int64)
        return pack_tensors(arrays, {"buffer": self._buffer.metadata(), "kept": self.kept, "passed": self.passed_over})

    def unpack(self, data: bytes) -> None:
        """Go on from `pack`, under this policy's bounds; raises StatisticsError, and nothing is taken then."""
        try:
            arrays, metadata = unpack_tensors(data, "what was seen without labels")
            self._take(arrays, metadata)
        except (EdgetlError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise StatisticsError(f"what was seen without labels cannot be read: {error}") from error

    def _take(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
        found = Buffer.from_state({key: arrays[key] for key in ("features", "stamps")}, metadata["buffer"])
        numbers = arrays["numbers"]
        if found.dim != self._buffer.dim or numbers.shape != (len(found),) or numbers.dtype != np.int64:
            raise ValueError("its features or numbers do not fit")
        kept, passed = int(metadata["kept"]), int(metadata["passed"])
        if len(numbers) and not (int(numbers.min()) > 0 and int(numbers.max()) <= kept):
            raise ValueError("its numbers are not those of samples that were kept")
        self.clear()
        self._buffer.gap_s = 0.0  # kept once, kept again: the gap is for new samples
        for row, stamp in zip(found.features, found.stamps):
            self._buffer.add(row, float(stamp))
        self._buffer.gap_s = self._policy.gap_s
        self._numbers.extend(int(number) for number in numbers)
        self.kept, self.passed_over = kept, passed
