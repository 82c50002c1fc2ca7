"""What a model wants of a time series, as data: so many steps, at that rate, of these channels."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

__all__ = ["WindowSpec", "parse_window"]

MAX_STEPS = 1 << 20
MAX_CHANNELS = 256
MAX_RATE_HZ = 1e7
_RESAMPLING = ("linear", "mean")


@dataclass(frozen=True)
class WindowSpec:
    """Windows (T, C): `length` = T steps at `rate_hz`, one begun every `stride` steps.

    `channels` and `units` name the C columns in the model's order; without them the source's are taken as they
    come. `resample` is "linear", or "mean" of what fell into the period before a step: without an average, what is
    faster than half the model's rate folds into it. A gap above `most_gap_s` cuts a window (None: 2.5 periods of the
    slower of model and source).
    """

    length: int
    stride: int
    rate_hz: float
    channels: Tuple[str, ...] = ()
    units: Tuple[str, ...] = ()
    resample: str = "linear"
    most_gap_s: Optional[float] = None

    def __post_init__(self) -> None:
        for what, value in (("length", self.length), ("stride", self.stride)):
            if type(value) is not int or not 0 < value <= MAX_STEPS:
                raise ValueError(f"{what} must be an integer from 1 to {MAX_STEPS} steps; got {value!r}")
        _check_positive("rate_hz", self.rate_hz, MAX_RATE_HZ)
        if self.most_gap_s is not None:
            _check_positive("most_gap_s", self.most_gap_s, sys.float_info.max)
        if self.resample not in _RESAMPLING:
            raise ValueError(f"resample must be one of {_RESAMPLING}; got {self.resample!r}")
        if len(self.channels) > MAX_CHANNELS or len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels must be at most {MAX_CHANNELS} different names; got {self.channels}")
        if self.units and len(self.units) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels and {len(self.units)} units; one a channel is needed")

    @property
    def duration_s(self) -> float:
        """From the first step of a window to its last."""
        return (self.length - 1) / self.rate_hz

    def gap_s(self, source_rate_hz: Optional[float] = None) -> float:
        """The longest gap between two samples that is still bridged."""
        if self.most_gap_s is not None:
            return self.most_gap_s
        return 2.5 / min(self.rate_hz, source_rate_hz or self.rate_hz)

    def to_json(self) -> Dict[str, Any]:
        """The declaration as it stands in a manifest."""
        return {
            "length": self.length,
            "stride": self.stride,
            "rate_hz": self.rate_hz,
            "channels": list(self.channels),
            "units": list(self.units),
            "resample": self.resample,
            "most_gap_s": self.most_gap_s,
        }


def parse_window(declared: Mapping[str, Any]) -> WindowSpec:
    """The record for a declaration of `to_json`; raises ValueError on an unknown or missing key, or a value."""
    fields = dict(declared)
    if set(fields) != set(WindowSpec(1, 1, 1.0).to_json()):
        raise ValueError(f"a window does not have exactly the keys it should: {sorted(fields)}")
    for key in ("channels", "units"):
        texts = fields[key]
        if not isinstance(texts, list) or any(type(text) is not str for text in texts):
            raise ValueError(f"{key} must be a list of texts; got {texts!r}")
        fields[key] = tuple(texts)
    if type(fields["resample"]) is not str:
        raise ValueError(f"resample must be a text; got {fields['resample']!r}")
    return WindowSpec(**fields)


def _check_positive(what: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise ValueError(f"{what} must be a number above 0, at most {most:g}; got {value!r}")
