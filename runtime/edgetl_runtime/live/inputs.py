"""From samples to what a session is given, and the last of it kept for labels that come late."""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import Callable, Deque, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SourceError
from edgetl_runtime.preprocess import ArrayPreprocess, Preprocess, TextPreprocess
from edgetl_runtime.sources import About, Sample
from edgetl_runtime.windows import CropSpec, Windower, WindowSpec

__all__ = ["Cutter", "Input", "Memory", "inputs_of"]

Cutter = Callable[[Sequence[Sample]], List["Input"]]


@dataclass(frozen=True, eq=False)
class Input:
    """One frame, crop, vector or window: `data` as the session takes it, the stamps of its first and last sample.

    `number` counts from 1 in the order of time; it names the input in answers and labels. `place` is of a crop.
    """

    number: int
    data: NDArray[np.generic]
    start_s: float
    stamp_s: float
    doubt: str = ""
    label: Optional[str] = None
    place: str = ""


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

    @property
    def reach(self) -> Tuple[int, float]:
        """How many inputs are remembered, and how many seconds they hold."""
        with self._lock:
            if not self._inputs:
                return 0, 0.0
            return len(self._inputs), self._inputs[-1].stamp_s - self._inputs[0].start_s

    def find(
        self, number: Optional[int] = None, stamp_s: Optional[float] = None, place: Optional[str] = None
    ) -> Optional[Input]:
        """The input of that number, or the newest that holds that moment; without either the newest; of that place."""
        with self._lock:
            inputs = list(self._inputs)  # searched outside of the lock, which the loop wants
        return next(
            (
                item
                for item in reversed(inputs)
                if number in (None, item.number)
                and (stamp_s is None or item.start_s <= stamp_s <= item.stamp_s)
                and place in (None, item.place)
            ),
            None,
        )


def inputs_of(
    about: About, preprocess: Preprocess, window: Optional[WindowSpec] = None, crops: Optional[CropSpec] = None
) -> Cutter:
    """How samples of a source become inputs of a session: one by one, in crops, or cut into windows.

    `window` is in place of the bundle's own. Raises SourceError when the two do not fit.
    """
    if isinstance(preprocess, TextPreprocess):
        raise SourceError(f"{about.name} gives no text, which the bundle takes: predict and learn it, with --text")
    if crops is not None and about.kind != "frame":
        raise SourceError(f"{about.name} gives numbers, and crops are of frames")
    if about.kind == "frame":
        if isinstance(preprocess, ArrayPreprocess):
            raise SourceError(f"{about.name} gives frames, and the bundle takes numbers of shape {preprocess.shape}")
        return _one_by_one() if crops is None else _in_crops(crops)
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


def _in_crops(crops: CropSpec) -> Cutter:
    count = [0]

    def cut(samples: Sequence[Sample]) -> List[Input]:
        inputs = []
        for sample in samples:
            for place, frame in crops.apply(sample.data):
                count[0] += 1
                inputs.append(
                    Input(count[0], frame, sample.stamp_s, sample.stamp_s, sample.doubt, sample.label, place)
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
