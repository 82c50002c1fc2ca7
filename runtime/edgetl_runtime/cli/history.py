"""`edgetl-runtime history`."""

from __future__ import annotations

import argparse
import datetime
import json

from edgetl_runtime.arguments import whole
from edgetl_runtime.cli.sessions import open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime history --state state/\n  edgetl-runtime history --last 5 --json --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("--last", type=whole(), default=20, metavar="N", help="so many entries (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print what happened, oldest first; reading beside a process that learns is fine."""
    with open_state(args, read_only=True) as session:
        entries = session.history(args.last)
        live = session.status()["generation"]
    if args.json:
        print(json.dumps({"generation": live, "history": [entry.__dict__ for entry in entries]}))
        return 0
    for entry in entries:
        print(f"{_when(entry.wall_s)}  {entry.words}")
    print(f"live now: {f'generation {live}' if live else 'the factory head'}")
    return 0


def _when(wall_s: float) -> str:
    """The clock of a device may be wrong, and a stamp damaged; the order is that of the entries."""
    try:
        return datetime.datetime.fromtimestamp(wall_s).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "at no known time"
