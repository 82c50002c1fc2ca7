"""All that the files of a machine say about it, as one record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple, Union

from edgetl_runtime.board.identity import Identity, fingerprint, identify
from edgetl_runtime.board.jetpack import Release, read_release
from edgetl_runtime.board.power import PowerModes, ThermalZone, read_power_modes, read_thermal_zones
from edgetl_runtime.board.tree import Tree

__all__ = ["BoardFacts", "Machine", "read_board", "read_machine"]


@dataclass(frozen=True)
class Machine:
    """What it takes to choose an engine; `fingerprint` changes where one may compute otherwise."""

    identity: Identity
    fingerprint: str


@dataclass(frozen=True)
class BoardFacts:
    """A machine by its files. What is None or empty could not be read: `unread` says which, and where it stood."""

    identity: Identity
    release: Optional[Release]
    power: Optional[PowerModes]
    zones: Tuple[ThermalZone, ...]
    memory_bytes: Optional[int]
    available_bytes: Optional[int]
    cores: Optional[int]
    online_cores: Optional[int]
    unread: Tuple[str, ...]


def read_board(root: Union[str, Path] = "/") -> BoardFacts:
    """Read the machine whose files lie under `root`. Never fails: a file that is missing or mad is unread."""
    tree = Tree(Path(root))
    memory = _memory(tree, "MemTotal")
    identity = identify(tree, memory)
    release, power, zones = read_release(tree), read_power_modes(tree), read_thermal_zones(tree)
    available = _memory(tree, "MemAvailable")
    cores, online = (_count(tree.line(f"sys/devices/system/cpu/{name}")) for name in ("present", "online"))
    jetson = (identity.soc or "").startswith("tegra")
    missing = {
        "model (/proc/device-tree/model, or /sys/class/dmi/id/product_name)": identity.model is None,
        "Jetson Linux release (/etc/nv_tegra_release)": jetson and release is None,
        "power modes (/etc/nvpmodel.conf)": jetson and (power is None or not power.names),
        "current power mode (/var/lib/nvpmodel/status)": jetson and power is not None and power.current is None,
        "thermal zones (/sys/class/thermal)": not zones,
        "temperatures (/sys/class/thermal/thermal_zone*/temp)": any(zone.celsius is None for zone in zones),
        "trip points (/sys/class/thermal/thermal_zone*/trip_point_*)": not any(zone.trips for zone in zones),
        "memory (/proc/meminfo)": memory is None or available is None,
        "CPU cores (/sys/devices/system/cpu)": cores is None or online is None,
    }
    unread = tuple(name for name, is_missing in missing.items() if is_missing)
    return BoardFacts(identity, release, power, zones, memory, available, cores, online, unread)


def read_machine(root: Union[str, Path] = "/") -> Machine:
    """The same from fewer files, quick enough for every start."""
    tree = Tree(Path(root))
    return Machine(identify(tree, _memory(tree, "MemTotal")), fingerprint(tree))


def _memory(tree: Tree, key: str) -> Optional[int]:
    found = re.search(rf"^{key}:\s+(\d{{1,15}}) kB", tree.text("proc/meminfo") or "", re.M)
    return int(found[1]) * 1024 if found else None


def _count(ranges: Optional[str]) -> Optional[int]:
    """Cores in "0-3,5"; None for anything else."""
    if ranges is None or not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", ranges):
        return None
    cores = set()
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        cores |= set(range(int(first), int(last or first) + 1))
    return len(cores) or None
