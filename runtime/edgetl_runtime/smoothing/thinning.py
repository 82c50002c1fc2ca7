"""Which samples are worth learning: not the same view again and again, and not more than the device should take."""

from __future__ import annotations

import collections
import math
from typing import Any, Deque, Dict

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.types import Label

__all__ = ["RateLimit", "Thinner"]


class Thinner:
    """Near-duplicates left out: a camera that stands still gives one view, not a thousand.

    A sample is a near-duplicate when its features lie closer than `closest` (relative to their length) to one of the
    last `remember` that were kept of its label; 0 leaves out exact repetitions only. Neighbouring frames of a driving
    car (MobileNetV2, 20 a second) are 0.3 to 0.4 apart.
    """

    def __init__(self, closest: float = 0.2, remember: int = 16) -> None:
        if not 0.0 <= closest < math.inf or remember < 1:
            raise ValueError(f"closest must be 0 or above and remember at least 1; got {closest}, {remember}")
        self._closest, self._remember = closest, remember
        self._kept: Dict[Label, Deque[NDArray[np.float32]]] = {}
        self.left_out = 0

    def accept(self, features: Any, label: Label) -> bool:
        """True for features (D,) to learn, which are remembered; False for a near-duplicate."""
        vector = np.array(features, dtype=np.float32)
        kept = self._kept.setdefault(label, collections.deque(maxlen=self._remember))
        limit = self._closest * float(np.linalg.norm(vector))
        if kept and float(np.linalg.norm(np.stack(kept) - vector, axis=1).min()) <= limit:
            self.left_out += 1
            return False
        kept.append(vector)
        return True


class RateLimit:
    """At most `per_s` a second over time, `burst` at once: one source alone cannot fill a device."""

    def __init__(self, per_s: float, burst: int = 1) -> None:
        if not (per_s > 0 and math.isfinite(per_s)) or burst < 1:
            raise ValueError(f"per_s must be above 0 and burst at least 1; got {per_s}, {burst}")
        self._per_s, self._burst = per_s, float(burst)
        self._level, self._stamp_s = float(burst), -math.inf
        self.left_out = 0

    def accept(self, stamp_s: float) -> bool:
        """True when one more may be taken at this stamp, in monotonic seconds."""
        if stamp_s > self._stamp_s:
            if self._stamp_s > -math.inf:
                self._level = min(self._burst, self._level + (stamp_s - self._stamp_s) * self._per_s)
            self._stamp_s = stamp_s
        if self._level < 1.0:
            self.left_out += 1
            return False
        self._level -= 1.0
        return True
