"""The boards that edgetl knows: devices/*.toml as frozen records, read strictly.

A `Figure` is a fact about a board with its source; what no source gives is absent. A `Choice` is ours: it says
why, and whether anything was measured on that kind of board.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgetl.errors import ProfileError
from edgetl.toml_files import read_toml

__all__ = [
    "VERIFIED",
    "Choice",
    "DeviceProfile",
    "Figure",
    "JetPack",
    "devices_folder",
    "load_jetpacks",
    "load_profile",
    "load_profiles",
    "read_jetpacks",
    "read_profile",
]

T = TypeVar("T")

VERIFIED = ("datasheet", "measured", "community")
_FAMILIES = ("jetson", "raspberry-pi", "x86", "cpu")
_REACHES = ("native", "container")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Figure(Generic[T]):
    """A fact: `verified` is "datasheet" (the maker says so), "measured" (by us) or "community"."""

    value: T
    source: str
    verified: str


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A decision of ours, and whether a measurement on this kind of board stands behind it."""

    value: T
    why: str
    measured: bool


@dataclass(frozen=True)
class DeviceProfile:
    """One board. None means that no source was found, or that machines of this kind differ.

    `reach` is "native", or "container" where the system's own Python is too old for the runtime. Memory in MiB
    (every variant), bandwidth in GB/s, power in W (least, most), budgets in bytes: of the whole process, of the
    TensorRT builder, of the state folder. `engines` and `precisions` come in the order to try them.
    """

    id: str
    name: str
    family: str
    reach: str
    engines: Choice[tuple[str, ...]]
    precisions: Choice[tuple[str, ...]]
    memory_bytes: Choice[int]
    state_bytes: Choice[int]
    workspace_bytes: Choice[int] | None = None
    threads: Choice[int] | None = None
    soc: Figure[str] | None = None
    sm: Figure[str] | None = None
    p_numbers: Figure[tuple[str, ...]] | None = None
    compatible: Figure[tuple[str, ...]] | None = None
    memory_mib: Figure[tuple[int, ...]] | None = None
    memory_gb_s: Figure[float] | None = None
    cpu_cores: Figure[int] | None = None
    dla_cores: Figure[int] | None = None
    power_w: Figure[tuple[int, ...]] | None = None
    jetpacks: Figure[tuple[str, ...]] | None = None
    power_modes: Figure[tuple[str, ...]] | None = None
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def figures(self) -> dict[str, Figure[Any]]:
        """Every figure that there is, by name."""
        return _of_type(self, Figure)

    def choices(self) -> dict[str, Choice[Any]]:
        """Every choice that was made, by name."""
        return _of_type(self, Choice)


@dataclass(frozen=True)
class JetPack:
    """One row of the JetPack matrix; `releases` maps Jetson Linux releases to JetPack releases."""

    name: str
    releases: Figure[dict[str, str]] = field(hash=False)
    ubuntu: Figure[str]
    python: Figure[str]
    glibc: Figure[str]
    cuda: Figure[str] | None = None
    cudnn: Figure[str] | None = None
    tensorrt: Figure[str] | None = None
    notes: tuple[str, ...] = ()

    def figures(self) -> dict[str, Figure[Any]]:
        """Every figure that there is, by name."""
        return _of_type(self, Figure)


# What each value must be. A tuple is a list of that type, not empty, without repetition.
_FIGURES: dict[str, Any] = {
    "soc": str, "sm": str, "p_numbers": (str,), "compatible": (str,), "memory_mib": (int,), "memory_gb_s": float,
    "cpu_cores": int, "dla_cores": int, "power_w": (int,), "jetpacks": (str,), "power_modes": (str,),
}  # fmt: skip
_CHOICES: dict[str, Any] = {
    "engines": (str,), "precisions": (str,), "memory_bytes": int, "state_bytes": int, "workspace_bytes": int,
    "threads": int,
}  # fmt: skip
_PRECISIONS = {"fp32", "fp16", "s8s8", "u8s8"}
_JETPACK = {"releases": dict, "ubuntu": str, "python": str, "glibc": str, "cuda": str, "cudnn": str, "tensorrt": str}


def devices_folder() -> Path:
    """Where the profiles lie: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "devices", package.parent / "devices"):
        if (folder / "jetpack.toml").is_file():
            return folder
    raise ProfileError(f"there are no device profiles beside {package}; install edgetl again")


@cache
def load_profiles() -> tuple[DeviceProfile, ...]:
    """Every profile that edgetl ships, by id; raises ProfileError."""
    folder = devices_folder()
    paths = sorted(path for path in folder.glob("*.toml") if path.name != "jetpack.toml")
    profiles = tuple(read_profile(path) for path in paths)
    known = {row.name for row in read_jetpacks(folder / "jetpack.toml")}
    names: dict[str, str] = {}
    for profile in profiles:
        for name in (profile.id, *profile.aliases):
            if name in names:
                raise ProfileError(f"{folder}: {name!r} names both {names[name]} and {profile.id}")
            names[name] = profile.id
        unknown = set(profile.jetpacks.value if profile.jetpacks else ()) - known
        if unknown:
            raise ProfileError(f"{profile.id}.toml: jetpack.toml has no {sorted(unknown)}; it has {sorted(known)}")
    return profiles


def load_profile(name: str) -> DeviceProfile:
    """The profile of that id or alias; raises ProfileError, which lists the ids."""
    profiles = load_profiles()
    for profile in profiles:
        if name in (profile.id, *profile.aliases):
            return profile
    raise ProfileError(f"there is no device {name!r}; there are {', '.join(profile.id for profile in profiles)}")


def load_jetpacks() -> tuple[JetPack, ...]:
    """The JetPack matrix that edgetl ships; raises ProfileError."""
    return read_jetpacks(devices_folder() / "jetpack.toml")


def read_profile(path: Path) -> DeviceProfile:
    """One file, its name being the id; any unknown or missing key, type or value raises ProfileError."""
    table = _Table(read_toml(path, "profile", ProfileError)[0], path.name)
    plain: dict[str, Any] = {
        "id": table.take("id", str),
        "name": table.take("name", str),
        "family": table.take("family", str, among=_FAMILIES),
        "reach": table.take("reach", str, among=_REACHES),
        "aliases": table.take("aliases", (str,), default=()),
        "notes": table.take("notes", (str,), default=()),
    }
    figures = _Table(table.take("figures", dict, default={}), f"{path.name}: figures")
    choices = _Table(table.take("choices", dict), f"{path.name}: choices")
    plain |= {name: figures.figure(name, kind) for name, kind in _FIGURES.items()}
    plain |= {name: choices.choice(name, kind) for name, kind in _CHOICES.items()}
    for part in (table, figures, choices):
        part.end()
    for name in (plain["id"], *plain["aliases"]):
        if not _ID.fullmatch(name):
            raise ProfileError(f"{path.name}: {name!r} is no id: lower-case words and numbers, joined by -")
    if plain["id"] != path.stem:
        raise ProfileError(f"{path.name}: its id is {plain['id']!r}; expected {path.stem!r}, after the file")
    for name in ("engines", "precisions", "memory_bytes", "state_bytes"):
        if plain[name] is None:
            raise ProfileError(f"{path.name}: choices.{name} is missing")
    if unknown := set(plain["precisions"].value) - _PRECISIONS:
        raise ProfileError(f"{path.name}: no such precision {sorted(unknown)}; there are {sorted(_PRECISIONS)}")
    return DeviceProfile(**plain)


def read_jetpacks(path: Path) -> tuple[JetPack, ...]:
    """jetpack.toml, as strictly as a profile."""
    document = _Table(read_toml(path, "profile", ProfileError)[0], path.name)
    rows = []
    for raw in document.take("jetpack", (dict,)):
        table = _Table(raw, f"{path.name}: {raw.get('name')}")
        plain = {"name": table.take("name", str), "notes": table.take("notes", (str,), default=())}
        plain |= {name: table.figure(name, kind) for name, kind in _JETPACK.items()}
        table.end()
        for name in ("releases", "ubuntu", "python", "glibc"):
            if plain[name] is None:
                raise ProfileError(f"{table.where}: {name} is missing")
        if not all(isinstance(value, str) and value for value in plain["releases"].value.values()):
            raise ProfileError(f"{table.where}: releases maps a Jetson Linux release to a JetPack release")
        rows.append(JetPack(**plain))
    document.end()
    if len({row.name for row in rows}) != len(rows):
        raise ProfileError(f"{path.name}: two rows have one name")
    return tuple(rows)


def _of_type(record: Any, kind: type) -> dict[str, Any]:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, kind)}


class _Table:
    """A TOML table whose keys are taken one by one; what is left at the end is an error."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self._left = dict(data)
        self.where = where

    def take(self, key: str, kind: Any, *, default: Any = None, among: tuple[str, ...] = ()) -> Any:
        if key not in self._left:
            if default is None:
                raise ProfileError(f"{self.where}: {key} is missing")
            return default
        value = _checked(self._left.pop(key), kind, f"{self.where}: {key}")
        if among and value not in among:
            raise ProfileError(f"{self.where}: {key} is {value!r}; expected one of {', '.join(among)}")
        return value

    def figure(self, key: str, kind: Any) -> Figure[Any] | None:
        """None where there is none."""
        if key not in self._left:
            return None
        table = _Table(self.take(key, dict), f"{self.where}: {key}")
        value, source = table.take("value", kind), table.take("source", str)
        figure = Figure(value, source, table.take("verified", str, among=VERIFIED))
        table.end()
        return figure

    def choice(self, key: str, kind: Any) -> Choice[Any] | None:
        """None where none was made."""
        if key not in self._left:
            return None
        table = _Table(self.take(key, dict), f"{self.where}: {key}")
        choice = Choice(table.take("value", kind), table.take("why", str), table.take("measured", bool))
        table.end()
        return choice

    def end(self) -> None:
        if self._left:
            raise ProfileError(f"{self.where}: unknown {', '.join(sorted(self._left))}")


def _checked(value: Any, kind: Any, where: str) -> Any:
    if isinstance(kind, tuple):
        if not isinstance(value, list) or not value:
            raise ProfileError(f"{where}: expected a list that is not empty, got {value!r}")
        items = tuple(_checked(item, kind[0], where) for item in value)
        if any(item in items[:i] for i, item in enumerate(items)):
            raise ProfileError(f"{where}: {value!r} repeats itself")
        return items
    if kind is float and type(value) is int:
        value = float(value)
    # type(), for True is an int to isinstance.
    if type(value) is not kind or (kind is str and not value.strip()):
        raise ProfileError(f"{where}: expected {kind.__name__}, got {value!r}")
    if kind in (int, float) and not 0 <= value < 1e15:
        raise ProfileError(f"{where}: {value!r} is no size, count or rate")
    return value
