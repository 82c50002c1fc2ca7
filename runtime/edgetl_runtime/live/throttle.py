"""When learning must wait: a hot or starved board slows down, and inference comes first."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Callable, Protocol, Union

from edgetl_runtime.board.power import read_thermal_zones
from edgetl_runtime.board.tree import Tree

__all__ = ["HeatGate", "PauseGate"]

logger = logging.getLogger(__name__)

_EVERY_S = 0.5
_BEFORE_DEGC, _BACK_DEGC = 3.0, 8.0
# At these trips the kernel slows the board, or stops it; "active" only turns a fan.
_SLOWING = ("passive", "hot", "critical")
# Raspberry Pi: under-voltage now, throttled now, soft temperature limit now.
_PI = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_NOW = 0b1101


class PauseGate(Protocol):
    """Says why learning must wait, "" when it need not."""

    def reason(self) -> str:
        """Asked often: cheap."""


class HeatGate:
    """Learning waits from 3 degC before the first trip at which a zone slows the board, until it is 8 degC below it.

    Or while a Raspberry Pi says that it is throttled or its supply too weak. The board's files are read under `root`
    at most twice a second.
    """

    def __init__(self, root: Union[str, Path] = "/", clock: Callable[[], float] = time.monotonic) -> None:
        self._tree, self._clock = Tree(Path(root)), clock
        self._read_s = float("-inf")
        self._reason = ""

    def reason(self) -> str:
        """Why learning must wait, or ""."""
        now_s = self._clock()
        if now_s - self._read_s >= _EVERY_S:
            self._read_s = now_s
            before, self._reason = self._reason, self._starved() or self._hot()
            if bool(before) != bool(self._reason):
                logger.warning("learning %s: %s", *(("waits", self._reason) if self._reason else ("goes on", "cooler")))
        return self._reason

    def _hot(self) -> str:
        margin = _BACK_DEGC if self._reason else _BEFORE_DEGC
        for zone in read_thermal_zones(self._tree):
            trips = [trip.celsius for trip in zone.trips if trip.kind in _SLOWING and trip.celsius > 0]
            if zone.celsius is not None and trips and zone.celsius >= min(trips) - margin:
                return f"{zone.name} is at {zone.celsius:.0f} degC, and slows the board at {min(trips):.0f}"
        return ""

    def _starved(self) -> str:
        text = self._tree.line(_PI) or "0"
        try:
            now = int(text, 16) & _PI_NOW
        except ValueError:
            return ""
        return "the supply is too weak" if now & 1 else "the board is throttled" if now else ""
