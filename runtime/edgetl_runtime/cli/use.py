"""`edgetl-runtime use`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import List

from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.errors import StateError
from edgetl_runtime.installation import installed_path
from edgetl_runtime.switching import Installed, list_installed

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime use --state state/     (lists what is installed)\n"
    "  edgetl-runtime use birds --state state/"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "bundle", nargs="?", help="name of an installed bundle, or how its id begins; without it they are listed"
    )
    parser.add_argument(
        "--allow-downgrade", action="store_true",
        help="switch to a signed release that is older than the newest of its name confirmed here",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Switch, or list what can be switched to."""
    folder = Path(args.state)
    installed = list_installed(folder)
    if args.bundle is None:
        if args.json:
            print(json.dumps([{"name": one.name, "id": one.id, "in_use": one.in_use} for one in installed]))
        for one in installed if not args.json else ():
            print(f"{'*' if one.in_use else ' '} {one.name}  {one.id[:12]}")
        if not installed and not args.json:
            print(f"no bundle is installed in {folder}")
        return 0
    chosen = _chosen(installed, args.bundle, folder)
    with open_state(args, installed_path(folder, chosen.id), allow_downgrade=args.allow_downgrade) as session:
        status = session.status()
    if args.json:
        print(json.dumps(status))
    else:
        print(f"{chosen.name} ({chosen.id[:12]}) is in use; samples learnt with it: {status['learnt_samples']}")
    return 0


def _chosen(installed: List[Installed], said: str, folder: Path) -> Installed:
    found = [one for one in installed if one.name == said or (len(said) >= 4 and one.id.startswith(said))]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{one.name} ({one.id[:12]})" for one in installed) or "none"
    what = f"{len(found)} bundles are called {said!r}, name one by its id" if found else f"no bundle is called {said!r}"
    raise StateError(f"{folder}: {what}. Installed: {listed}; others come by edgetl-runtime install")
