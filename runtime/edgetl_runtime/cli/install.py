"""`edgetl-runtime install`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.opening import open_session

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime install birds.edgetl --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")


def run(args: argparse.Namespace) -> int:
    """Install and print what is installed now."""
    with open_session(args.bundle, args.state, allow_unsigned=args.allow_unsigned, engine=args.engine) as session:
        status = session.status()
    if args.json:
        print(json.dumps(status))
    else:
        bundle = status["bundle"]
        print(f"installed {bundle['name']} ({bundle['id'][:12]}) in {args.state}")
        print(f"  {len(status['classes'])} classes, {status['dim']} features, {status['engine']}; golden samples agree")
        if status["learnt_samples"]:
            print(f"  {status['learnt_samples']} samples learnt here before are kept")
    return 0
