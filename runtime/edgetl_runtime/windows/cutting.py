"""A time series into windows: resampled to the model's rate, cut (never bent) at gaps and clock jumps.

The host cuts a whole recording by the same code in one call; a value depends on its neighbours alone, so that the
same samples give the same windows to the last bit, however they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SampleError
from edgetl_runtime.windows.channels import map_channels
from edgetl_runtime.windows.spec import WindowSpec

__all__ = ["Window", "WindowTable", "Windower", "cut_windows"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """`data` (T, C) float32, with the stamps in seconds of its first and last step.

    `doubt` says why no head should learn from it, "" when nothing speaks against it.
    """

    data: NDArray[np.float32]
    start_s: float
    end_s: float
    doubt: str = ""


class Windower:
    """Samples in, windows out. `cuts` counts why windows were cut, and samples that were left out, by reason."""

    def __init__(
        self,
        spec: WindowSpec,
        channels: Sequence[str] = (),
        units: Sequence[str] = (),
        source_rate_hz: Optional[float] = None,
    ) -> None:
        self.spec = spec
        self._map = map_channels(spec, channels, units)
        self._most_gap_s = spec.gap_s(source_rate_hz)
        self._width: Optional[int] = None
        self._reasons = [""]
        self.cuts: Dict[str, int] = {"gap": 0, "clock": 0, "duplicate": 0, "not_finite": 0}
        self.reset()

    def reset(self) -> None:
        """Begin anew: nothing that was pushed ends in a window any more."""
        self._segment = _Segment()

    def push(self, stamps_s: Any, values: Any, doubts: Optional[Sequence[str]] = None) -> List[Window]:
        """The windows that N samples, (N,) stamps in seconds and (N, columns) values, finish.

        `doubts` are N texts, see Window. Samples that hold NaN or infinity are left out: they make a gap. Raises
        SampleError when the shapes do not fit each other, or those before.
        """
        samples = self._checked(stamps_s, values, doubts)
        finite = np.isfinite(samples.values).all(axis=1) & np.isfinite(samples.stamps)
        if not finite.all():
            self.cuts["not_finite"] += int(np.count_nonzero(~finite))
            samples = samples.only(finite)
        windows: List[Window] = []
        for stretch, why in self._stretches(samples.stamps):
            if why:
                self.cuts[why] += 1
                self.reset()
            self._segment.extend(samples.only(stretch), self.spec)
            for start_s, end_s, rows, code in self._segment.take(self.spec):
                windows.append(Window(rows.astype(np.float32), start_s, end_s, self._reasons[code]))
        return windows

    def _checked(self, stamps_s: Any, values: Any, doubts: Optional[Sequence[str]]) -> _Samples:
        stamps = np.asarray(stamps_s, dtype=np.float64)
        table = np.asarray(values, dtype=np.float64)
        if stamps.ndim != 1 or table.ndim != 2 or len(stamps) != len(table):
            raise SampleError(f"stamps must be (N,) and values (N, C); got {stamps.shape} and {table.shape}")
        if doubts is not None and len(doubts) != len(stamps):
            raise SampleError(f"{len(stamps)} samples and {len(doubts)} doubts; one a sample is needed")
        if self._width is None:
            self._width = table.shape[1]
        if table.shape[1] != self._width:
            raise SampleError(f"a sample must have {self._width} values as before; got {table.shape[1]}")
        if self._map is not None:
            table = self._map.apply(table)
        codes = np.zeros(len(stamps), dtype=np.int64)
        for place, doubt in enumerate(doubts or ()):
            if doubt:
                if doubt not in self._reasons:
                    self._reasons.append(doubt)
                codes[place] = self._reasons.index(doubt)
        return _Samples(stamps, table, codes)

    def _stretches(self, stamps: Array) -> List[Tuple[slice, str]]:
        """Runs of samples between cuts, each with why it does not go on where the one before ended."""
        if not len(stamps):
            return []
        before = self._segment.last_s
        steps = np.diff(stamps, prepend=stamps[0] if before is None else before)
        self.cuts["duplicate"] += int(np.count_nonzero(steps == 0)) - (before is None)
        breaks = [(0, "")] if 0.0 <= steps[0] <= self._most_gap_s else []
        for place in np.flatnonzero((steps < 0) | (steps > self._most_gap_s)):
            breaks.append((int(place), "clock" if steps[place] < 0 else "gap"))
        ends = [place for place, _ in breaks[1:]] + [len(stamps)]
        return [(slice(start, stop), why) for (start, why), stop in zip(breaks, ends)]


class _Samples(NamedTuple):
    """Stamps (N,), values (N, C), and codes (N,) of doubts: 0 is none."""

    stamps: Array
    values: Array
    codes: NDArray[np.int64]

    def only(self, which: Any) -> _Samples:
        return _Samples(self.stamps[which], self.values[which], self.codes[which])

    def joined(self, later: _Samples) -> _Samples:
        return _Samples(*(np.concatenate(both) for both in zip(self, later)))


class _Segment:
    """Samples without a gap between them, and their values at the steps `first + k / rate`."""

    def __init__(self) -> None:
        self.first_s = 0.0
        self.last_s: Optional[float] = None
        self._samples: Optional[_Samples] = None  # those that later steps still need
        self._steps: List[_Samples] = []  # blocks of resampled steps that windows still need
        self._kept = 0  # steps in them
        self._next = 0  # the step to compute next
        self._begin = 0  # the step at which the next window begins

    def extend(self, samples: _Samples, spec: WindowSpec) -> None:
        """Take in samples that do not go back, and compute the steps they reach."""
        fresh = np.diff(samples.stamps, prepend=-np.inf if self.last_s is None else self.last_s) > 0
        if not fresh.all():  # of several with one stamp the first stays
            samples = samples.only(fresh)
        if not len(samples.stamps):
            return
        if self._samples is None:
            self.first_s = float(samples.stamps[0])
        else:
            samples = self._samples.joined(samples)
        self.last_s = float(samples.stamps[-1])
        if len(samples.stamps) > 1:
            reached = int((self.last_s - self.first_s) * spec.rate_hz) + 2
            steps = self.first_s + np.arange(self._next, reached) / spec.rate_hz
            steps = steps[steps <= self.last_s]
            if len(steps):
                self._steps.append(_resampled(steps, samples, spec))
                self._kept += len(steps)
                self._next += len(steps)
        # The last sample is the left neighbour of the next step; an average needs all since the step before.
        since = self.first_s + (self._next - 1) / spec.rate_hz if spec.resample == "mean" else self.last_s
        keep = min(int(np.searchsorted(samples.stamps, since, side="right")), len(samples.stamps) - 1)
        self._samples = samples.only(slice(keep, None))

    def take(self, spec: WindowSpec) -> List[Tuple[float, float, Array, int]]:
        """The windows that are whole: stamps of the first and last step, (T, C), and the code of a doubt."""
        first = self._next - self._kept  # the step of the first row that is kept
        if self._begin + spec.length > self._next:
            return []
        steps, found = _Samples(*(np.concatenate(parts) for parts in zip(*self._steps))), []
        while self._begin + spec.length <= self._next:
            window = steps.only(slice(self._begin - first, self._begin - first + spec.length))
            start_s, end_s = float(window.stamps[0]), float(window.stamps[-1])
            found.append((start_s, end_s, window.values, int(window.codes.max())))
            self._begin += spec.stride
        rest = steps.only(slice(min(self._begin - first, self._kept), None))
        self._steps, self._kept = [rest], len(rest.stamps)
        return found


def _resampled(steps: Array, samples: _Samples, spec: WindowSpec) -> _Samples:
    """Values at the steps: between the neighbours of each, or the mean of the period before it where it holds any."""
    stamps, values, codes = samples
    right = np.clip(np.searchsorted(stamps, steps, side="left"), 1, len(stamps) - 1)
    left = right - 1
    weight = ((steps - stamps[left]) / (stamps[right] - stamps[left]))[:, None]
    result: Array = values[left] * (1.0 - weight) + values[right] * weight
    doubts = np.maximum(codes[left] * (weight[:, 0] < 1.0), codes[right] * (weight[:, 0] > 0.0))
    if spec.resample == "mean":
        ends = np.searchsorted(stamps, steps, side="right")
        starts = np.searchsorted(stamps, steps - 1.0 / spec.rate_hz, side="right")
        for place in np.flatnonzero(ends > starts):
            result[place] = values[starts[place] : ends[place]].mean(axis=0)
            doubts[place] = codes[starts[place] : ends[place]].max()
    return _Samples(steps, result, doubts)


class WindowTable(NamedTuple):
    """`data` (M, T, C) float32, and (M,) stamps in seconds of first and last steps; `cuts` as of a Windower."""

    data: NDArray[np.float32]
    start_s: Array
    end_s: Array
    cuts: Dict[str, int]


def cut_windows(
    spec: WindowSpec,
    stamps_s: Any,
    values: Any,
    channels: Sequence[str] = (),
    units: Sequence[str] = (),
    source_rate_hz: Optional[float] = None,
) -> WindowTable:
    """All M windows of a recording of N samples, (N,) stamps in seconds and (N, columns) values."""
    windower = Windower(spec, channels, units, source_rate_hz)
    windows = windower.push(stamps_s, values)
    width = len(spec.channels) or np.shape(values)[1]
    data = np.stack([window.data for window in windows]) if windows else np.empty((0, spec.length, width), np.float32)
    starts, ends = [window.start_s for window in windows], [window.end_s for window in windows]
    return WindowTable(data, np.array(starts), np.array(ends), windower.cuts)
