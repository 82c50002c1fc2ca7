"""`edgetl-runtime doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Iterator, Optional, Tuple

from edgetl_runtime.board import BoardFacts
from edgetl_runtime.doctor import Diagnosis, diagnose

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime doctor --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        default="/",
        help="read the files of the board under this folder, such as a copy of another board's (default: /)",
    )


def run(args: argparse.Namespace) -> int:
    """Say what this machine is and has; 0 when edgetl can run here, 1 when not."""
    diagnosis = diagnose(args.state, args.root)
    if args.json:
        print(json.dumps({"can_run": diagnosis.can_run, **dataclasses.asdict(diagnosis)}))
    else:
        for title, text in _lines(diagnosis):
            print(f"{title:<12} {text}")
    return 0 if diagnosis.can_run else 1


def _lines(found: Diagnosis) -> Iterator[Tuple[str, str]]:
    yield from _board_lines(found.board)
    glibc = f", glibc {found.glibc}" if found.glibc else ", C library not read"
    yield "python", f"{found.python} on {found.machine}{glibc}"
    for library in found.libraries:
        yield "library", f"{library.name} {_version(library.found, library.version)}"
    for engine in found.engines:
        text = f"{engine.name} {_version(engine.found, engine.version)}"
        if engine.found and engine.problem:
            text += f", {engine.problem}"
        if engine.providers:
            text += f", can use {', '.join(engine.providers)}"
        if engine.found and not engine.adapted:
            text += " (no adapter in this version of edgetl-runtime)"
        yield "engine", text
    yield "sqlite", found.sqlite or "not in this Python"
    state = found.state
    free = "free space not read" if state.free_bytes is None else f"{state.free_bytes / 1e9:.1f} GB free"
    system = f"on {state.file_system}" if state.file_system else "file system not read"
    writable = "cannot be written" if state.problem else "writable"
    yield "state", f"{state.path}: {'there' if state.exists else 'not made yet'}, {writable}, {free}, {system}"
    for fact in found.board.unread:
        yield "not read", fact
    for finding in found.findings:
        yield finding.severity, finding.what
        if finding.command:
            yield "", f"  try: {finding.command}"
    yield "verdict", "edgetl can run here" if found.can_run else "edgetl cannot run here: see each problem above"


def _board_lines(board: BoardFacts) -> Iterator[Tuple[str, str]]:
    identity = board.identity
    row = identity.row
    yield "board", f"{row.id} ({row.name})" if row else "not known"
    yield "", f"  because of {identity.because}"
    if identity.model:
        yield "model", identity.model
    if board.release:
        jetpack = f"JetPack {board.release.jetpack}" if board.release.jetpack else "JetPack not known"
        yield "jetpack", f"{jetpack}, Jetson Linux {board.release.jetson_linux}"
    if board.cores is not None or board.online_cores is not None:
        yield "cpu", f"{_or(board.online_cores)} of {_or(board.cores)} cores online"
    if board.memory_bytes is not None:
        yield "memory", f"{_gib(board.available_bytes)} available of {_gib(board.memory_bytes)}"
    if board.power:
        yield "power", f"{board.power.current or 'mode not read'}; there are {', '.join(board.power.names) or 'none'}"
    for zone in board.zones:
        trips = ", ".join(f"{trip.kind} {trip.celsius:g}" for trip in zone.trips)
        now = "not read" if zone.celsius is None else f"{zone.celsius:.1f} C"
        yield "thermal", f"{zone.name} {now}; trips: {trips or 'not read'}"


def _version(found: bool, version: Optional[str]) -> str:
    return (version or "found, version not read") if found else "not installed"


def _or(number: Optional[int]) -> str:
    return "not read" if number is None else str(number)


def _gib(size_bytes: Optional[int]) -> str:
    return "not read" if size_bytes is None else f"{size_bytes / 2**30:.1f} GiB"
