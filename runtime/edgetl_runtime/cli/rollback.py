"""`edgetl-runtime rollback`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.cli.sessions import open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime rollback --state state/\n"
    "  edgetl-runtime rollback --to 0 --state state/     (the factory head)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "--to", type=whole(0, MOST_WHOLE), metavar="N",
        help="the generation to go to, 0 being the factory head; default: the one before",
    )


def run(args: argparse.Namespace) -> int:
    """Go back, and print what is live."""
    with open_state(args) as session:
        left = session.status()["generation"]
        generation = session.rollback(args.to)
        waiting = session.status()["waiting_samples"]
    if args.json:
        print(json.dumps({"from": left, "generation": generation, "waiting_samples": waiting}))
        return 0
    print(f"went back from generation {left} to {f'generation {generation}' if generation else 'the factory head'}")
    if waiting:
        print(f"  learnt and not live: {waiting}; `edgetl-runtime forget` removes them for good")
    return 0
