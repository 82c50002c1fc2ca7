"""`edgetl devices`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from edgetl.profiles import DeviceProfile, JetPack, load_jetpacks, load_profile, load_profiles

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl devices jetson-orin-nano"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("id", nargs="?", help="show this board in full, with the source of every figure")


def run(args: argparse.Namespace) -> int:
    """Print a table of all boards, or one in full."""
    if args.id is None:
        profiles = load_profiles()
        if args.json:
            document = {"devices": list(map(_plain, profiles)), "jetpacks": list(map(_plain, load_jetpacks()))}
            print(json.dumps(document))
        else:
            print("\n".join(_table(profiles)))
        return 0
    profile = load_profile(args.id)
    if args.json:
        print(json.dumps(_plain(profile)))
    else:
        print("\n".join(_in_full(profile)))
    return 0


def _plain(record: DeviceProfile | JetPack) -> dict[str, Any]:
    """Without what is not known: an absent key, never a null that looks like a figure."""
    return {key: value for key, value in dataclasses.asdict(record).items() if value is not None}


def _table(profiles: tuple[DeviceProfile, ...]) -> Iterator[str]:
    yield f"{'id':<22} {'SM':>5} {'memory':>12} {'GB/s':>6} {'cores':>5}  {'JetPack':<10} engines"
    for profile in profiles:
        sizes = [f"{size / 1024:g}" for size in profile.memory_mib.value] if profile.memory_mib else []
        memory = f"{'-'.join(dict.fromkeys([sizes[0], sizes[-1]]))} GB" if sizes else "-"
        jetpacks = profile.jetpacks.value if profile.jetpacks else ()
        far = "" if profile.reach == "native" else "  (container only)"
        yield (
            f"{profile.id:<22} {_or(profile.sm):>5} {memory:>12} {_or(profile.memory_gb_s):>6}"
            f" {_or(profile.cpu_cores):>5}  {'-'.join(dict.fromkeys(jetpacks[:1] + jetpacks[-1:])) or '-':<10}"
            f" {', '.join(profile.engines.value)}{far}"
        )
    yield "- : not found, or it differs; edgetl devices ID shows the source of every figure"


def _in_full(profile: DeviceProfile) -> Iterator[str]:
    yield f"{profile.id}: {profile.name}" + (f" (also {', '.join(profile.aliases)})" if profile.aliases else "")
    for note in profile.notes:
        yield f"  note: {note}"
    for name, figure in profile.figures().items():
        yield f"  {name:<15} {_show(figure.value)}"
        yield f"  {'':<15}   {figure.verified}: {figure.source}"
    for name, choice in profile.choices().items():
        yield f"  {name:<15} {_show(choice.value)}"
        yield f"  {'':<15}   our choice, {'measured' if choice.measured else 'not measured'}: {choice.why}"


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _or(figure: Any) -> str:
    return "-" if figure is None else _show(figure.value)
