"""`edgetl drift`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgetl_runtime.out_files import checked_out

from edgetl.html.page import write_page
from edgetl.reporting.drift_page import drift_page, read_rehearsal

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime drift day.mcap --state state/ --json > day.json     (on the device)\n"
    "  edgetl drift day.json --out day.html"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("measured", metavar="FILE.json", help="what `edgetl-runtime drift RECORDING --json` printed")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="the page to write")


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    out = checked_out(args.out)
    found = read_rehearsal(Path(args.measured))
    write_page(out, drift_page(found))
    if args.json:
        print(json.dumps({"page": str(out), "kind": found["kind"], "follows": found["follows"]}))
    else:
        print(f"{found['kind']}; the page is {out}")
    return 0
