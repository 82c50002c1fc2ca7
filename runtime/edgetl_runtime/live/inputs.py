"""From samples to what a session is given, and the last of it kept for labels that come late."""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import Callable, Deque, List, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SourceError
from edgetl_runtime.preprocess import ArrayPreprocess, Preprocess
from edgetl_runtime.sources import About, Sample
from edgetl_runtime.windows import Windower, WindowSpec

__all__ = ["Cutter", "Input", "Memory", "inputs_of"]

Cutter = Callable[[Sequence[Sample]], List["Input"]]


@dataclass(frozen=True, eq=False)
class Input:
    """One frame, vector or window: `data` as the session takes it, the stamps of its first and last sample.

    `number` counts from 1 in the order of time; it names the input in answers and labels.
    """

    number: int
    data: NDArray[np.generic]
    start_s: float
    stamp_s: float
    doubt: str = ""
    label: Optional[str] = None


# What Python keeps of an Input beside its numbers: a day of small vectors would be mostly this.
_BESIDES_BYTES = 600


class Memory:
    """The newest inputs, at most `most_bytes` of them, to be found by number or stamp. Safe to use from threads."""

    def __init__(self, most_bytes: int = 64 << 20) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._inputs: Deque[Input] = collections.deque()
        self._lock = threading.Lock()

    def keep(self, item: Input) -> None:
        """Remember one; the oldest give way."""
        with self._lock:
            self._inputs.append(item)
            self._bytes += item.data.nbytes + _BESIDES_BYTES
            while self._bytes > self._most_bytes and len(self._inputs) > 1:
                self._bytes -= self._inputs.popleft().data.nbytes + _BESIDES_BYTES

    def find(self, number: Optional[int] = None, stamp_s: Optional[float] = None) -> Optional[Input]:
        """The input of that number, or the newest that holds that moment; without either the newest of all."""
        with self._lock:
            if number is None and stamp_s is None:
                return self._inputs[-1] if self._inputs else None
            inputs = list(self._inputs)  # searched outside of the lock, which the loop wants
        if number is not None:
            return next((item for item in reversed(inputs) if item.number == number), None)
        assert stamp_s is not None
        return next((item for item in reversed(inputs) if item.start_s <= stamp_s <= item.stamp_s), None)


def inputs_of(about: About, preprocess: Preprocess, window: Optional[WindowSpec] = None) -> Cutter:
    """How samples of a source become inputs of a session: one by one, or cut into windows.

    `window` is in place of the bundle's own. Raises SourceError when the two do not fit.
    """
    if about.kind == "frame":
        if isinstance(preprocess, ArrayPreprocess):
            raise SourceError(f"{about.name} gives frames, and the bundle takes numbers of shape {preprocess.shape}")
        return _one_by_one()
    if not isinstance(preprocess, ArrayPreprocess):
        raise SourceError(f"{about.name} gives {len(about.channels)} numbers a sample, and the bundle takes frames")
    window = window or preprocess.window
    if window is None:
        if preprocess.shape != (len(about.channels),):
            raise SourceError(
                f"{about.name} gives {len(about.channels)} numbers a sample; the bundle takes {preprocess.shape} and"
                " does not say how a stream is cut into that: say --rate-hz and --stride"
            )
        return _one_by_one()
    columns = len(window.channels) or len(about.channels)
    if preprocess.shape != (window.length, columns):
        raise SourceError(
            f"windows of {window.length} steps of {columns} channels are not what the bundle takes, {preprocess.shape}"
        )
    return _windows(Windower(window, about.channels, about.units, about.rate_hz))


def _one_by_one() -> Cutter:
    count = [0]

    def cut(samples: Sequence[Sample]) -> List[Input]:
        inputs = []
        for sample in samples:
            count[0] += 1
            inputs.append(
                Input(count[0], sample.data, sample.stamp_s, sample.stamp_s, sample.doubt, sample.label)
            )
        return inputs

    return cut


def _windows(windower: Windower) -> Cutter:
    count = [0]

    def cut(samples: Sequence[Sample]) -> List[Input]:
        stamps, doubts = [sample.stamp_s for sample in samples], [sample.doubt for sample in samples]
        inputs = []
        for window in windower.push(stamps, [sample.data for sample in samples], doubts) if samples else ():
            count[0] += 1
            inputs.append(Input(count[0], window.data, window.start_s, window.end_s, window.doubt))
        return inputs

    return cut
