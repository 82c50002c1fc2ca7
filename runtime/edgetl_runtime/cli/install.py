"""`edgetl-runtime install`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Callable, List

from edgetl_runtime.cli.sessions import open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime install birds.edgetl --state state/"
_QUIET_S = 5.0  # between two lines of progress of the same phase


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")
    parser.add_argument(
        "--no-build", action="store_true", help="leave an engine that must be built for minutes to the first session"
    )


def run(args: argparse.Namespace) -> int:
    """Install, build the engine where it must be built, and print what is installed now."""
    with open_state(
        args, args.bundle, build="never" if args.no_build else "wait", progress=_printer()
    ) as session:
        status = session.status()
    if args.json:
        print(json.dumps(status))
    else:
        bundle = status["bundle"]
        print(f"installed {bundle['name']} ({bundle['id'][:12]}) in {args.state}")
        print(
            f"  {len(status['classes'])} classes, {status['dim']} features, {status['variant']} in {status['engine']};"
            " golden samples agree"
        )
        for words in status["engines_refused"]:
            print(f"  not used: {words}")
        if status["variant_held"]:
            print(f"  {status['variant_held']}")
        if status["learnt_samples"]:
            print(f"  {status['learnt_samples']} samples learnt here before are kept")
    return 0


def _printer() -> Callable[[str, float], None]:
    """A line on stderr for every phase of a build, and now and then while one lasts."""
    told: List[Any] = ["", -_QUIET_S]  # phase, seconds

    def tell(phase: str, seconds: float) -> None:
        if phase != told[0] or seconds - told[1] >= _QUIET_S:
            told[:] = [phase, seconds]
            print(f"building the engine: {phase}, {seconds:.0f} s", file=sys.stderr, flush=True)

    return tell
