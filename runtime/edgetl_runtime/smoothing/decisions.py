"""Decisions over time: one frame's answer flickers, a robot's should not."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass, replace
from typing import Deque, Dict, Mapping, Optional, Tuple

from edgetl_runtime.types import Label

__all__ = ["MODES", "Decision", "DecisionFilter"]

MODES = ("exponential", "vote")


@dataclass(frozen=True)
class Decision:
    """What to act on. `label` is None when it abstains; then `reason` says why: "unsure" or "unknown".

    `share` of the recent evidence speaks for the label; `since_s` is the stamp at which it was decided, and
    `changed` marks the first such decision.
    """

    label: Optional[Label]
    share: float
    reason: str
    since_s: float
    changed: bool


class DecisionFilter:
    """Predictions in, decisions out, with hysteresis.

    "exponential" averages probabilities with a memory of `memory_s` seconds; "vote" counts the winners of the last
    `memory_s` seconds. A label is decided on at a share of `enter`, and dropped below `leave`, or for another that
    enters with a larger share. What is less like anything known than `most_outlier` speaks for no label; when most
    of the evidence does, the decision is None, "unknown". The first decision takes half a memory of evidence, and
    a pause of five memories begins anew.
    """

    def __init__(
        self,
        memory_s: float = 0.5,
        mode: str = "exponential",
        enter: float = 0.6,
        leave: float = 0.4,
        most_outlier: Optional[float] = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}; got {mode!r}")
        if not (memory_s > 0 and math.isfinite(memory_s)):
            raise ValueError(f"memory_s must be a number of seconds above 0; got {memory_s!r}")
        if not 0.0 < leave <= enter <= 1.0:
            raise ValueError(f"0 < leave <= enter <= 1 is needed; got leave {leave} and enter {enter}")
        self._memory_s, self._mode, self._enter, self._leave = memory_s, mode, enter, leave
        self._most_outlier = most_outlier
        self._begun_s = -math.inf
        self._stamp_s: Optional[float] = None
        self._shares: Dict[Label, float] = {}
        self._unknown = self._weight = 0.0
        self._votes: Deque[Tuple[float, Optional[Label]]] = collections.deque()
        self._decision = Decision(None, 0.0, "unsure", -math.inf, False)

    def push(self, stamp_s: float, probabilities: Mapping[Label, float], outlier: float = 0.0) -> Decision:
        """The decision after one more prediction, stamped in seconds that do not go back."""
        if self._stamp_s is None or not 0.0 <= stamp_s - self._stamp_s <= 5 * self._memory_s:
            self._shares, self._unknown, self._stamp_s = {}, 0.0, None
            self._votes.clear()
            self._begun_s, self._decision = stamp_s, replace(self._decision, label=None)
        known = self._most_outlier is None or outlier <= self._most_outlier
        if any(math.isnan(value) for value in probabilities.values()) or math.isnan(outlier) or not probabilities:
            known = False
        if self._mode == "vote":
            self._count(stamp_s, max(probabilities, key=lambda label: probabilities[label]) if known else None)
        else:
            self._average(stamp_s, probabilities if known else {})
        self._stamp_s = stamp_s
        self._decision = self._decide(stamp_s)
        return self._decision

    def _average(self, stamp_s: float, probabilities: Mapping[Label, float]) -> None:
        """Every prediction weighs the same, and less with its age."""
        fading = 0.0 if self._stamp_s is None else math.exp(-(stamp_s - self._stamp_s) / self._memory_s)
        before, self._weight = self._weight * fading, self._weight * fading + 1.0
        self._shares = {
            label: (before * self._shares.get(label, 0.0) + probabilities.get(label, 0.0)) / self._weight
            for label in {**self._shares, **probabilities}
        }
        self._unknown = (before * self._unknown + (not probabilities)) / self._weight

    def _count(self, stamp_s: float, winner: Optional[Label]) -> None:
        self._votes.append((stamp_s, winner))
        while self._votes[0][0] < stamp_s - self._memory_s:
            self._votes.popleft()
        counts = collections.Counter(label for _, label in self._votes)
        share = {label: count / len(self._votes) for label, count in counts.items()}
        self._unknown = share.pop(None, 0.0)
        self._shares = {label: value for label, value in share.items() if label is not None}

    def _decide(self, stamp_s: float) -> Decision:
        before = self._decision.label
        best = max(self._shares, key=lambda label: self._shares[label], default=None)
        held = self._shares.get(before, 0.0) if before is not None else 0.0
        label: Optional[Label] = before if before is not None and held >= self._leave else None
        enough = stamp_s - self._begun_s >= self._memory_s / 2
        if best is not None and enough and self._shares[best] >= self._enter and self._shares[best] > held:
            label = best
        reason = "" if label is not None else "unknown" if self._unknown > 0.5 else "unsure"
        share = self._shares[label] if label is not None else self._unknown if reason == "unknown" else 0.0
        changed = (label, reason) != (before, self._decision.reason)
        since_s = stamp_s if changed or self._decision.since_s == -math.inf else self._decision.since_s
        return Decision(label, share, reason, since_s, changed)
