"""Several labels a sample: the same option wherever a dataset may have them."""

from __future__ import annotations

import argparse
from typing import Any

from edgetl.errors import DatasetError

__all__ = ["add_tasks_argument", "opened_tasks"]


def add_tasks_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Which columns, and whether each is a class or a number; `what` comes of it."""
    parser.add_argument(
        "--tasks", type=_tasks, metavar="NAME:KIND,...",
        help="several labels a sample: columns of the CSV, each a class or a number (surface:class,angle:number); empty"
        f" cells are missing labels. {what}",
    )  # fmt: skip


def opened_tasks(args: argparse.Namespace) -> Any:
    """The dataset of these tasks, or of that one of them which `--task` names; raises DatasetError."""
    from edgetl.data import dataset

    if args.targets or args.window:
        raise DatasetError("--tasks are for a CSV of images; leave --targets and --window out")
    whole = dataset(args.data, tasks=args.tasks, holdout=args.holdout, seed=args.seed, split=args.split)
    if "task" not in args:
        return whole
    if not args.task:
        raise DatasetError(f"a bundle has one task: say --task, one of {', '.join(args.tasks)}")
    return whole.task(args.task)


def _tasks(text: str) -> dict[str, str]:
    pairs = [one.rpartition(":") for one in text.split(",")]
    if not all(name and kind in ("class", "number") for name, _, kind in pairs):
        raise argparse.ArgumentTypeError(f"expected NAME:class or NAME:number with commas between; got {text!r}")
    return {name.strip(): kind for name, _, kind in pairs}
