"""`edgetl-runtime install`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict

from edgetl_runtime.cli.progress import print_build_progress
from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.errors import LearntLeftError
from edgetl_runtime.switching import list_installed

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime install birds.edgetl --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")
    parser.add_argument(
        "--no-build", action="store_true", help="leave an engine that must be built for minutes to the first session"
    )
    parser.add_argument(
        "--allow-downgrade", action="store_true",
        help="take a signed bundle that is older than the newest of its name confirmed here",
    )  # fmt: skip
    parser.add_argument("--any-device", action="store_true", help="take a bundle that was built for other boards")
    parser.add_argument(
        "--leave-learnt", action="store_true",
        help="take a release with other features and leave what it cannot take over with the bundle before; or a bundle"
        " of another name on the same extractor, and keep apart what the two learn",
    )  # fmt: skip
    parser.add_argument(
        "--discard-learnt", action="store_true",
        help="take a bundle with other features, and delete what was learnt with the one in use",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Install, build the engine where it must be built, and print what is installed now."""
    before = {one.id: one.name for one in list_installed(Path(args.state)) if one.in_use}
    try:
        status = _install(args, args.leave_learnt)
    except LearntLeftError as error:
        if args.json or not sys.stdin.isatty():
            raise
        print(error, file=sys.stderr)
        if not _agreed("Install it and leave what was learnt with the bundle before? [y/N] "):
            return 1
        status = _install(args, True)
    installed = list_installed(Path(args.state))
    beside = [f"{one.name} ({one.id[:12]})" for one in installed if not one.in_use]
    if args.json:
        print(json.dumps(status))
    else:
        bundle = status["bundle"]
        names = ", ".join(output["name"] for output in status["outputs"])
        said = f"numbers: {names}" if names else f"{len(status['classes'])} classes"
        print(f"installed {bundle['name']} ({bundle['id'][:12]}) in {args.state}")
        print(
            f"  {said}, {status['dim']} features, {status['variant']} in {status['engine']};"
            " golden samples agree"
        )
        for words in status["engines_refused"]:
            print(f"  not used: {words}")
        if status["variant_held"]:
            print(f"  {status['variant_held']}")
        if not bundle["confirmed"]:
            print("  on trial until its first prediction; the bundle before is kept, and serves if three starts fail")
        if status["learnt_samples"]:
            print(f"  {status['learnt_samples']} samples learnt here before are kept")
        for replaced, name in before.items():
            if name != bundle["name"] and all(one.id != replaced for one in installed):
                shared = "; what it learnt stays, as the extractor is the same (--leave-learnt keeps the two apart)"
                print(f"  in place of {name} ({replaced[:12]}){shared if status['learnt_samples'] else ''}")
        if beside:
            print(f"  beside it: {', '.join(beside)}; `edgetl-runtime use` switches, and each keeps what it had learnt")
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # the end of the input is no yes
        print(file=sys.stderr)
        return False


def _install(args: argparse.Namespace, leave_learnt: bool) -> Dict[str, Any]:
    with open_state(
        args, args.bundle, build="never" if args.no_build else "wait", progress=print_build_progress(), reinstall=True,
        allow_downgrade=args.allow_downgrade, any_device=args.any_device, leave_learnt=leave_learnt,
        discard_learnt=args.discard_learnt,
    ) as session:  # fmt: skip
        return session.status()
