"""Which windows a command cuts from recordings: the same options wherever data may be a time series."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.windows import WindowSpec

from edgetl.cli.backbone import opened_backbone
from edgetl.cli.progress import say_stage
from edgetl.cli.tasks import opened_tasks
from edgetl.errors import DatasetError

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["add_window_arguments", "opened_data", "opened_network_and_data"]


def add_window_arguments(parser: argparse.ArgumentParser) -> None:
    """How recordings become samples; without --window, data are images."""
    group = parser.add_argument_group(
        "windows of a time series",
        "--data is then a folder of recordings (WAV, CSV, MCAP, bags) with a folder a class; a CSV\n"
        "of sensor values: columns time, label, maybe group, and the channels (ax [m/s^2]); or a\n"
        "CSV of recordings: columns path and label, maybe group, start_s and end_s",
    )
    group.add_argument("--window", type=int, metavar="STEPS", help="length of a window")
    group.add_argument("--stride", type=int, metavar="STEPS", help="from window to window (default: half of one)")
    group.add_argument("--rate-hz", type=float, metavar="HZ", help="steps a second; recordings are resampled to it")
    group.add_argument("--columns", type=_names, metavar="C[,C]", help="only these channels, in this order")
    group.add_argument(
        "--resample", choices=["linear", "mean"], default="linear",
        help="between neighbours, or the mean of a step, which keeps faster signals from folding in (default linear)",
    )  # fmt: skip
    group.add_argument(
        "--groups", metavar="PATTERN",
        help="regular expression that finds in a path who or where it was: groups are held out whole",
    )  # fmt: skip
    group.add_argument(
        "--turn", type=float, metavar="DEGREES",
        help="train sensors of three axes turned by up to so much (edgetl/conv1d-*; 180: any mounting)",
    )  # fmt: skip


def opened_network_and_data(args: argparse.Namespace) -> tuple[Extractor, Dataset | TargetDataset]:
    """The extractor and the dataset that a command names; a network for windows learns from the data which."""
    if not _window_options(args):  # what is wrong with them is said before any network is opened
        return opened_backbone(args), opened_data(args)
    windows: Any = opened_data(args)
    return opened_backbone(args, windows), windows


def opened_data(args: argparse.Namespace) -> Dataset | TargetDataset:
    """The dataset that a command names."""
    from edgetl.data import dataset

    say_stage(f"reading {args.data}")
    if getattr(args, "tasks", None):
        several: Dataset | TargetDataset = opened_tasks(args)
        return several
    options = _window_options(args)
    how = {"holdout": args.holdout, "split": args.split}
    if args.targets:
        if options:
            raise DatasetError("--targets, numbers in place of labels, are not for windows yet; leave --window out")
        numbers: TargetDataset = dataset(args.data, targets=args.targets, **how)
        return numbers
    labelled: Dataset = dataset(args.data, seed=args.seed, **how, **options)
    return labelled


def _window_options(args: argparse.Namespace) -> dict[str, Any]:
    """`window` and `groups` for `edgetl.dataset`; {} for images. Raises DatasetError."""
    if args.window is None:
        options = ("stride", "rate_hz", "columns", "groups", "turn")
        if given := [f"--{name.replace('_', '-')}" for name in options if getattr(args, name, None) is not None]:
            raise DatasetError(f"{', '.join(given)} are for windows of a time series: say --window and --rate-hz")
        if (getattr(args, "backbone", None) or "").startswith("edgetl/"):
            raise DatasetError(f"{args.backbone} takes windows of a time series: say --window and --rate-hz")
        return {}
    if args.rate_hz is None:
        raise DatasetError("--window is a number of steps: say --rate-hz, how many of them a second has")
    stride = args.stride if args.stride is not None else max(1, args.window // 2)
    try:
        window = WindowSpec(args.window, stride, args.rate_hz, args.columns or (), resample=args.resample)
    except (ValueError, EdgetlError) as error:
        raise DatasetError(str(error)) from error
    return {"window": window, "groups": args.groups}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
