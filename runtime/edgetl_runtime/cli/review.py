"""`edgetl-runtime review`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.cli.sessions import add_policy, open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime review --state state/\n"
    "  edgetl-runtime review --accept --state state/     (a person says yes to what was learnt)"
)
_SAID = {"promote": "went live", "keep": "stays", "roll back": "went back", "ask": "asks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "--accept", action="store_true", help="say yes: what was learnt goes live, or back, as the guard asks"
    )
    add_policy(parser)


def run(args: argparse.Namespace) -> int:
    """Let the guard judge, and print its verdict with the evidence."""
    with open_state(args) as session:
        verdict = session.review(accept=args.accept)
        status = session.status()
    if args.json:
        print(json.dumps({**verdict.to_json(), "generation": status["generation"]}))
        return 0
    live = f"generation {status['generation']}" if status["generation"] else "the factory head"
    print(f"{live} {_SAID[verdict.decision]}: {verdict.reason}")
    if verdict.decision == "ask":
        print("  say yes with: edgetl-runtime review --accept")
    if status["waiting_samples"]:
        print(f"  learnt and not live: {status['waiting_samples']}")
    return 0
