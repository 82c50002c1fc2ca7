"""`edgetl-runtime install`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.cli.progress import print_build_progress
from edgetl_runtime.cli.sessions import open_state

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
        "--discard-learnt", action="store_true",
        help="take a bundle whose features mean something else, and delete what was learnt here",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Install, build the engine where it must be built, and print what is installed now."""
    with open_state(
        args, args.bundle, build="never" if args.no_build else "wait", progress=print_build_progress(), reinstall=True,
        allow_downgrade=args.allow_downgrade, any_device=args.any_device, discard_learnt=args.discard_learnt,
    ) as session:  # fmt: skip
        status = session.status()
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
    return 0
