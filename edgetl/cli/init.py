"""`edgetl init`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.terminal import shown

from edgetl.project import init_project

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl init              (writes edgetl.toml; read it, then:)\n"
    "  edgetl data check\n  edgetl choose\n  edgetl finetune\n  edgetl build"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="FOLDER",
        help="where the data lies, itself or one level below (default: here)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what was found."""
    path, found = init_project(args.folder)
    if args.json:
        seen = {"data": None if found.path is None else str(found.path), "kind": found.kind, "seen": found.seen}
        print(json.dumps({"project": str(path), **seen, "split": found.split, "why": found.why}))
        return 0
    if found.path is None:
        print(f"{path}: no data was found in {args.folder}; say in [data] where it lies")
    else:
        print(shown(f"{path}\n  {found.path}: {found.seen}"))
        print(f"  split: {found.split} ({found.why})" if found.kind == "images" else f"  {found.why}")
    check, tune = found.kind in ("images", ""), found.kind != "windows"  # build trains the networks for windows
    steps = ["edgetl data check"] * check + ["edgetl choose"] + ["edgetl finetune"] * tune + ["edgetl build"]
    print(f"  read it, then: {', '.join(steps)}")
    return 0
