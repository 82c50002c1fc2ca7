"""Evidence that may be looked at after every sample: a bet against "it is not better"."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from edgetl_runtime.types import Label

__all__ = ["Ledger", "Wealth"]

# Small stakes find small gains in long streams, large ones believe a few straight wins; with their shares.
STAKES = ((0.1, 0.08), (0.2, 0.1), (0.35, 0.14), (0.5, 0.18), (0.65, 0.18), (0.8, 0.17), (0.95, 0.15))
# A part of the money waits: what a learner was worth after its first samples says little of what it is later.
STARTS = ((0, 0.7), (8, 0.15), (30, 0.15))
_PARTS = len(STAKES) * len(STARTS)
_SHARES = tuple(share * part for _, part in STARTS for _, share in STAKES)


class Wealth:
    """What one unit becomes that is bet on differences d in [-1, 1] being positive: mean over stakes of prod(1 + s d).

    If the differences are not positive on average, whatever the past, the chance that it *ever* reaches 1/a is
    at most a (Ville). Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting".
    """

    def __init__(self, count: int = 0, logs: Sequence[float] = (0.0,) * _PARTS) -> None:
        if len(logs) != _PARTS or count < 0:
            raise ValueError(f"a wealth has {_PARTS} parts and a count; got {len(logs)} and {count}")
        self.count, self.logs = int(count), [float(value) for value in logs]

    def bet(self, difference: float) -> None:
        """Add one difference, clipped to [-1, 1]."""
        for position, gain in _gains(self.count, difference):
            self.logs[position] += gain
        self.count += 1

    @property
    def value(self) -> float:
        """The wealth now; 1 before any bet, at most e^700."""
        return _mixed(self.logs)


class Ledger:
    """The same bets kept apart by label, so that all that came of a doubtful label can be left out again."""

    def __init__(self) -> None:
        self.count = 0
        # For each label: how many samples, the sum of the positive differences, of the negative ones, the bets.
        self._rows: Dict[Optional[Label], List[float]] = {}

    def add(self, label: Optional[Label], difference: float) -> None:
        """One difference in [-1, 1], positive where the head on probation was better."""
        row = self._rows.setdefault(label, [0.0] * (3 + _PARTS))
        row[0] += 1.0
        row[1] += max(difference, 0.0)
        row[2] += max(-difference, 0.0)
        for position, gain in _gains(self.count, difference):
            row[3 + position] += gain
        self.count += 1

    def totals(self, without: Iterable[Optional[Label]] = ()) -> Tuple[int, float, float]:
        """How many differences, the sum of the positive and of the negative ones; some labels left out."""
        rows = self._kept(without)
        return int(sum(row[0] for row in rows)), sum(row[1] for row in rows), sum(row[2] for row in rows)

    def wealth(self, without: Iterable[Optional[Label]] = ()) -> float:
        """The wealth of the bets on all differences but those of some labels."""
        logs = [0.0] * _PARTS
        for row in self._kept(without):
            logs = [value + gain for value, gain in zip(logs, row[3:])]
        return _mixed(logs)

    def by_label(self) -> List[Tuple[Optional[Label], int, float, float]]:
        """Label, how many, sum of the positive and of the negative differences."""
        return [(label, int(row[0]), row[1], row[2]) for label, row in self._rows.items()]

    def _kept(self, without: Iterable[Optional[Label]]) -> List[List[float]]:
        gone = set(without)
        return [row for label, row in self._rows.items() if label not in gone]

    def state(self) -> List[List[Any]]:
        """Plain JSON of all rows; only rows with a difference carry their bets."""
        return [[label, *(row if any(row[1:3]) else row[:1])] for label, row in self._rows.items()]

    @classmethod
    def from_state(cls, rows: Sequence[Sequence[Any]]) -> Ledger:
        """The ledger of `state()`; raises ValueError."""
        result = cls()
        for label, *row in rows:
            if len(row) not in (1, 3 + _PARTS):
                raise ValueError(f"a row of a guard ledger has 2 or {4 + _PARTS} columns; got {1 + len(row)}")
            result._rows[label] = [float(value) for value in row] + [0.0] * (3 + _PARTS - len(row))
            result.count += int(row[0])
        return result


def _gains(count: int, difference: float) -> List[Tuple[int, float]]:
    """log(1 + s d) for every part that bets on sample number `count`, with its position."""
    d = min(1.0, max(-1.0, float(difference)))
    if d == 0.0:
        return []
    gains = [math.log1p(stake * d) for stake, _ in STAKES]
    return [
        (first * len(STAKES) + position, gain)
        for first, (start, _) in enumerate(STARTS)
        if count >= start
        for position, gain in enumerate(gains)
    ]


def _mixed(logs: Sequence[float]) -> float:
    top = max(logs)
    return math.exp(min(top, 700.0)) * sum(share * math.exp(value - top) for share, value in zip(_SHARES, logs))
