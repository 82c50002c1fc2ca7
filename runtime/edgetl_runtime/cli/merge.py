"""`edgetl-runtime merge`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgetl_runtime.bundle.manifest import SOURCE_FEATURES
from edgetl_runtime.installation import open_installed
from edgetl_runtime.merging import merge_states

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime merge robot-a/ robot-b/ -o fleet/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("states", nargs="+", metavar="STATE", help="state folders to read")
    parser.add_argument("-o", "--out", required=True, metavar="STATE", help="new state folder to make")


def run(args: argparse.Namespace) -> int:
    """Merge, and print how much came from where."""
    counts = merge_states(args.states, args.out)
    # Signatures are judged when the new state is opened.
    carries = open_installed(Path(args.out), None, None, True).manifest.carries
    exact = SOURCE_FEATURES not in carries
    if args.json:
        print(json.dumps({"out": args.out, "samples": counts, "exact": exact}))
    else:
        how = "merged exactly" if exact else "their head will be refitted from its reservoir, not exactly"
        print(f"{args.out}: {sum(counts.values())} samples, {how}")
        for folder, count in counts.items():
            print(f"  {count:>6} from {folder}")
    return 0
