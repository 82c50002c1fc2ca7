"""Does the live head suddenly fail? Then the domain is another one, or the labels are."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping

__all__ = ["Steadiness"]

_RECENT = 20
_SPREADS = 3.0


class Steadiness:
    """The losses of the live head, in 0..1: the last twenty against all before them."""

    def __init__(self) -> None:
        self._recent: List[float] = []
        self._count, self._lost = 0, 0.0

    def add(self, loss: float) -> bool:
        """One loss; True when the last twenty lie three standard errors above the others: then all begins anew."""
        self._recent.append(loss)
        if len(self._recent) <= _RECENT:
            return False
        self._count += 1
        self._lost += self._recent.pop(0)
        if self._count < _RECENT:
            return False
        usual = self._lost / self._count
        variance = usual * (1.0 - usual) * (1.0 / _RECENT + 1.0 / self._count)
        # Beside a head that never failed a single failure is no sign.
        spread = math.sqrt(variance + 1.0 / _RECENT**2)
        fails = sum(self._recent) / _RECENT - usual > _SPREADS * spread
        if fails:
            self._recent, self._count, self._lost = [], 0, 0.0
        return fails

    def state(self) -> Dict[str, Any]:
        """Plain JSON."""
        return {"recent": list(self._recent), "count": self._count, "lost": self._lost}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Steadiness:
        """The losses of `state()`."""
        result = cls()
        result._recent = [float(loss) for loss in state["recent"]]
        result._count, result._lost = int(state["count"]), float(state["lost"])
        return result
