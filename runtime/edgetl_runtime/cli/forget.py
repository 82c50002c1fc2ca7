"""`edgetl-runtime forget`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.cli.sessions import open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime forget --label kestrel --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sample", type=int, metavar="ID", help="one sample, by the id that `learn` gave")
    what.add_argument("--label", help="all that was learnt here under a label")
    what.add_argument("--source", help="all that was learnt here from a source")


def run(args: argparse.Namespace) -> int:
    """Forget, and print how many samples went."""
    with open_state(args) as session:
        count = session.forget(args.sample, label=args.label, source=args.source)
        status = session.status()
    if args.json:
        print(json.dumps({"forgotten": count, "generation": status["generation"], "exact": status["exact"]}))
    else:
        refitted = f"the head {status['head']} was refitted from its reservoir, not exactly"
        how = "exactly" if status["exact"] else refitted
        print(f"forgot {count} sample{'' if count == 1 else 's'}, {how}; generation {status['generation']}")
    return 0
