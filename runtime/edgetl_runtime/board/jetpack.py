"""Which JetPack a Jetson has, from the Jetson Linux release in /etc/nv_tegra_release.

The tables repeat devices/jetpack.toml, which names the sources: Python 3.8 reads no TOML. A test of the host
holds both equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, NamedTuple, Optional

from edgetl_runtime.board.tree import Tree

__all__ = ["GENERATIONS", "JETPACKS", "Generation", "Release", "read_release"]


class Generation(NamedTuple):
    """What all releases of one JetPack major version share."""

    python: str
    ubuntu: str


# By the major version of Jetson Linux.
GENERATIONS: Dict[str, Generation] = {
    "32": Generation("3.6", "18.04"),
    "35": Generation("3.8", "20.04"),
    "36": Generation("3.10", "22.04"),
    "38": Generation("3.12", "24.04"),
    "39": Generation("3.12", "24.04"),
}

# JetPack by release of Jetson Linux.
JETPACKS: Dict[str, str] = {
    "32.6.1": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.2": "5.1.5",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.2.2": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
}

_RELEASE = re.compile(r"#\s*R(\d{1,3})\s*\(release\),\s*REVISION:\s*(\d{1,3}(?:\.\d{1,3}){0,2})")


@dataclass(frozen=True)
class Release:
    """Jetson Linux as installed; `jetpack` is None where no table has this very release."""

    jetson_linux: str
    jetpack: Optional[str]
    python: Optional[str]
    ubuntu: Optional[str]


def read_release(tree: Tree) -> Optional[Release]:
    """The release, or None where this is no Jetson Linux (or its release file says something else)."""
    found = _RELEASE.match(tree.line("etc/nv_tegra_release") or "")
    if not found:
        return None
    version = f"{found[1]}.{found[2]}"
    if version.count(".") == 1:
        version += ".0"
    generation = GENERATIONS.get(found[1])
    return Release(
        version,
        JETPACKS.get(version),
        generation.python if generation else None,
        generation.ubuntu if generation else None,
    )
