"""Power modes of a Jetson and thermal zones of any board, from the files that its own tools read.

Modes go by name: their numbers differ between boards and releases. Trip points are read here and stored
nowhere: public tables disagree about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from edgetl_runtime.board.tree import Tree

__all__ = ["PowerModes", "ThermalZone", "Trip", "read_power_modes", "read_thermal_zones"]

_THERMAL = "sys/class/thermal"
_MODE = re.compile(r"<\s*POWER_MODEL\s+([^>\n]*)>")
_DEFAULT = re.compile(r"<\s*PM_CONFIG\s+DEFAULT\s*=\s*(\d{1,4})")
_ATTRIBUTE = re.compile(r"(\w+)\s*=\s*([\w.+-]{1,64})")
_CURRENT = re.compile(r"pmode:(\d{1,6})")


@dataclass(frozen=True)
class PowerModes:
    """Names in the order of the file; `current` and `default` are None where they could not be told."""

    names: Tuple[str, ...]
    current: Optional[str]
    default: Optional[str]


@dataclass(frozen=True)
class Trip:
    """A temperature in degC at which the kernel acts: "active" fans, "passive" slows, "hot", "critical" halts."""

    kind: str
    celsius: float


@dataclass(frozen=True)
class ThermalZone:
    """One sensor; `celsius` is None where it is off."""

    name: str
    celsius: Optional[float]
    trips: Tuple[Trip, ...]


def read_power_modes(tree: Tree) -> Optional[PowerModes]:
    """From /etc/nvpmodel.conf and /var/lib/nvpmodel/status; None where there is no such tool."""
    text = tree.text("etc/nvpmodel.conf")
    if text is None:
        return None
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    by_number: Dict[int, str] = {}
    for found in _MODE.finditer(text):
        attributes = dict(_ATTRIBUTE.findall(found[1]))
        if attributes.get("ID", "").isdecimal() and "NAME" in attributes:
            by_number.setdefault(int(attributes["ID"]), attributes["NAME"])
    default = _DEFAULT.search(text)
    current = _CURRENT.search(tree.text("var/lib/nvpmodel/status") or "")
    return PowerModes(
        tuple(by_number.values()),
        by_number.get(int(current[1])) if current else None,
        by_number.get(int(default[1])) if default else None,
    )


def read_thermal_zones(tree: Tree) -> Tuple[ThermalZone, ...]:
    """Every zone of sysfs, in its order; a zone without a name is left out."""
    found = [name for name in tree.names(_THERMAL) if re.fullmatch(r"thermal_zone\d{1,4}", name)]
    zones = []
    for zone in sorted(found, key=lambda name: int(name[len("thermal_zone") :])):
        name = tree.line(f"{_THERMAL}/{zone}/type")
        if name is not None:
            zones.append(ThermalZone(name, _celsius(tree, f"{_THERMAL}/{zone}/temp"), _trips(tree, zone)))
    return tuple(zones)


def _trips(tree: Tree, zone: str) -> Tuple[Trip, ...]:
    trips = []
    for name in tree.names(f"{_THERMAL}/{zone}"):
        number = re.fullmatch(r"trip_point_(\d{1,3})_temp", name)
        celsius = _celsius(tree, f"{_THERMAL}/{zone}/{name}") if number else None
        if number and celsius is not None:
            kind = tree.line(f"{_THERMAL}/{zone}/trip_point_{number[1]}_type") or "not said"
            trips.append(Trip(kind, celsius))
    return tuple(sorted(trips, key=lambda trip: (trip.celsius, trip.kind)))


def _celsius(tree: Tree, path: str) -> Optional[float]:
    """Sysfs counts thousandths; drivers say "off" by values that no board survives."""
    text = tree.line(path)
    if text is None or not re.fullmatch(r"-?\d{1,7}", text):
        return None
    celsius = int(text) / 1000
    return celsius if -100 < celsius < 300 else None
