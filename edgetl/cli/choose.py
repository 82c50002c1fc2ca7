"""`edgetl choose`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from edgetl_runtime.errors import SourceError

from edgetl.cli.progress import shown_progress

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl choose --data photos/ torchvision/mobilenet_v3_small=DEFAULT torchvision/mobilenet_v2@160=DEFAULT\n"
    "  edgetl choose --data photos/ torchvision/mobilenet_v2=weights.safetensors onnx:own.onnx --out choice.html"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "backbones", nargs="+", metavar="BACKBONE",
        help="torchvision/<model>, timm/<model> or onnx:<file>; @SIZE behind it is another input size, =WEIGHTS its"
        " weights (a file, or DEFAULT to download them; without it they are random), #TENSOR the feature of a graph",
    )  # fmt: skip
    parser.add_argument(
        "--data", required=True, metavar="FOLDER", help="a folder of images with a folder a class, or a CSV"
    )
    parser.add_argument(
        "--targets", type=lambda text: text.split(","), metavar="NAME[,NAME]",
        help="numbers in place of classes: columns of the CSV",
    )  # fmt: skip
    parser.add_argument("--samples", type=int, default=500, metavar="N", help="judge on at most so many (default 500)")
    parser.add_argument(
        "--device", action="append", default=[], metavar="ID", help="a board whose memory it must fit; may be repeated"
    )
    parser.add_argument("--out", metavar="FILE", help="write a page with the plot of accuracy against latency")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of samples (default 0)")


def run(args: argparse.Namespace) -> int:
    """Judge, and print a ranked table or JSON."""
    from edgetl.choosing import choose
    from edgetl.choosing.page import choice_page
    from edgetl.data import dataset

    out = None if args.out is None else Path(args.out)
    if out is not None and not out.parent.is_dir():
        raise SourceError(f"there is no folder {out.parent} to write {out.name} into; make it first")
    samples = dataset(args.data, targets=args.targets) if args.targets else dataset(args.data, seed=args.seed)
    with shown_progress() as progress:
        ranking = choose(
            samples, args.backbones, most=args.samples, devices=args.device, seed=args.seed, progress=progress
        )
    if out is not None:
        out.write_text(choice_page(ranking), encoding="utf-8")
    if args.json:
        print(json.dumps(asdict(ranking)).replace("NaN", "null"))
        return 0
    measure = "loo R2" if ranking.numbers else "loo %"
    width = max(len(one.name) for one in ranking.candidates)
    print(
        f"{'':>2} {'backbone':<{width}} {'D':>5} {measure:>7} {'LogME':>7} {'H-score':>8} {'gap':>6} {'ms':>7}"
        f" {'graph MB':>9} {'peak MB':>8}"
    )
    for place, one in enumerate(ranking.candidates, 1):
        if one.error:
            print(f"{'-':>2} {one.name:<{width}} {one.error}")
            continue
        loo = f"{one.loo:.3f}" if ranking.numbers else f"{100 * one.loo:.1f}"
        told = [f"{device} {'fits' if fits else 'TOO LARGE'}" for device, fits in one.fits]
        print(
            f"{place:>2} {one.name:<{width}} {one.dim:>5} {loo:>7} {one.log_evidence:>7.3f}"
            f" {_or_dash(one.h_score):>8} {_or_dash(one.gap):>6} {one.latency_ms:>7.2f} {one.graph_bytes / 1e6:>9.1f}"
            f" {one.peak_bytes / 1e6:>8.0f}  {', '.join(told)}".rstrip()
        )
    print(
        f"{ranking.samples} samples of {ranking.dataset}; loo: ridge on the frozen features, each sample left out;"
        f" ms and MB on this machine{'; the page is ' + str(out) if out else ''}"
    )
    return 0


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
