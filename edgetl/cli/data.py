"""`edgetl data check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.out_files import checked_out
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.terminal import shown

from edgetl.cli.backbone import add_backbone_arguments, add_network_arguments, add_split_argument, opened_backbone
from edgetl.cli.progress import shown_progress
from edgetl.errors import DatasetError
from edgetl.html.page import write_page

__all__ = ["EXAMPLE", "add_arguments", "interrupted", "run"]

EXAMPLE = (
    "edgetl data check photos/ --backbone torchvision/mobilenet_v2 --weights DEFAULT --device-data robot.mcap\n\n"
    "exit code: 0 no faults, 3 faults were found (warnings and notes do not count), 1 it could not be checked,"
    " 2 wrong usage"
)
FAULTS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("action", choices=["check"], help="look for copies, leaks, wrong labels, skew, damage")
    parser.add_argument(
        "data", nargs="?", metavar="PATH",
        help="a folder with a folder a class, a CSV of path,label, a COCO .json, an .npz, or hf:NAME",
    )  # fmt: skip
    parser.add_argument(
        "--other", action="append", default=[], type=_named, metavar="NAME=PATH",
        help="a further split, such as test=photos/test; may be repeated",
    )  # fmt: skip
    parser.add_argument("--images", metavar="FOLDER", help="where the images of a COCO .json lie")
    parser.add_argument(
        "--device-data", metavar="WHERE", help="a folder of images, or the address of a recording, as the device sees"
    )
    parser.add_argument("--holdout", type=float, default=0.2, metavar="SHARE", help="kept from training (default 0.2)")
    parser.add_argument("--seed", type=whole(0, MOST_WHOLE), default=0, help="of the split (default 0)")
    add_split_argument(parser)
    parser.add_argument(
        "--limit", type=float, default=0.01, metavar="P", help="a label less likely than this is named (default 0.01)"
    )
    parser.add_argument("--out", metavar="FILE", help="the page to write (default: NAME.check.html here)")
    add_backbone_arguments(parser, required=False)
    add_network_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print what was found, write the page; 3 when there are faults."""
    from edgetl.checking import check_data, check_page
    from edgetl.data import dataset

    if args.data is None:
        raise DatasetError("name the data to check, or a project file that does (edgetl init)")
    out = checked_out(args.out or f"{Path(args.data).resolve().stem}.check.html")
    extractor = opened_backbone(args) if args.backbone else None
    options = {"holdout": args.holdout, "seed": args.seed, "images": args.images, "verify": False}
    data = dataset(args.data, split=args.split, **options)
    others = {name: dataset(path, images=args.images, holdout=0.0, verify=False) for name, path in args.other}
    with shown_progress() as progress:
        result = check_data(
            data, others=others, extractor=extractor, device_data=args.device_data, limit=args.limit, progress=progress
        )
    write_page(out, check_page(result))
    if args.json:
        print(line_of({**result.plain(), "page": str(out)}).strip())
    else:
        splits = ", ".join(f"{count} {name}" for name, count in result.splits.items())
        print(shown(f"{result.name}: {result.samples} samples ({splits}), {len(result.classes)} classes"))
        for finding in result.findings:
            print(shown(f"  {finding.severity:<7}  {finding.kind}: {finding.summary}"))
            if finding.advice and finding.severity != "note":
                print(shown(f"           -> {finding.advice}"))
        if extractor is None:
            print("  labels were not judged: that takes features (--backbone)")
        print(f"  {result.seconds:.0f} s; page: {out}")
    return FAULTS if result.faults else 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C left behind."""
    return "nothing was changed and no page was written; the same command starts anew"


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"expected NAME=PATH, such as test=photos/test; got {text!r}")
    return name, path
