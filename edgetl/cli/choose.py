"""`edgetl choose`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.out_files import checked_out
from edgetl_runtime.sinks.encoding import line_of

from edgetl.cli.backbone import add_split_argument
from edgetl.cli.progress import shown_progress
from edgetl.cli.windows import add_window_arguments, opened_data
from edgetl.errors import BackboneError
from edgetl.html.page import write_page
from edgetl.quantize.recipes import S8S8

if TYPE_CHECKING:
    from edgetl.choosing import Likeness, Ranking

__all__ = ["EXAMPLE", "add_arguments", "interrupted", "run"]

EXAMPLE = (
    "edgetl choose --data photos/ torchvision/mobilenet_v3_small=DEFAULT torchvision/mobilenet_v2@160=DEFAULT\n"
    "  edgetl choose --data photos/ torchvision/mobilenet_v2=weights.safetensors onnx:own.onnx --out choice.html\n"
    "  edgetl choose --data photos/ torchvision/mobilenet_v2=DEFAULT --precision fp32,int8 --device x86-openvino\n"
    "  edgetl choose --data new_photos/ --bundle birds.edgetl    (how far is this from what the bundle knows?)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "backbones", nargs="*", metavar="BACKBONE",
        help="torchvision/<model>, timm/<model> or onnx:<file>; @SIZE behind it is another input size, =WEIGHTS its"
        " weights (a file, or DEFAULT to download them; without it they are random), #TENSOR the feature of a graph",
    )  # fmt: skip
    parser.add_argument(
        "--data", required=True, metavar="FOLDER",
        help="a folder of images with a folder a class, or a CSV; for recordings see --window",
    )
    parser.add_argument(
        "--targets", type=lambda text: text.split(","), metavar="NAME[,NAME]",
        help="numbers in place of classes: columns of the CSV",
    )  # fmt: skip
    parser.add_argument(
        "--precision", type=lambda text: [part.strip() for part in text.split(",") if part.strip()], default=["fp32"],
        metavar="P[,P]", help="judge each backbone in these of fp32, fp16, int8 (s8s8, u8s8) (default fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--bundle", metavar="FILE",
        help="say how far the data is from what this bundle was trained on; with or without BACKBONE",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=whole(), default=500, metavar="N", help="judge on at most so many (default 500)"
    )
    parser.add_argument(
        "--device", action="append", default=[], metavar="ID", help="a board whose memory it must fit; may be repeated"
    )
    parser.add_argument("--out", metavar="FILE", help="write a page with the plot of accuracy against latency")
    parser.add_argument("--cache", metavar="FOLDER", help="keep features here, to go on after an interruption")
    parser.add_argument(
        "--seed", type=whole(0, MOST_WHOLE), default=0, help="of the split and of the draw of samples (default 0)"
    )
    parser.add_argument(
        "--holdout", type=float, default=0.2, metavar="SHARE", help="kept out of the choice (default 0.2)"
    )
    add_split_argument(parser)
    add_window_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge, and print a ranked table or JSON."""
    from edgetl.choosing import choose, compare_with_bundle
    from edgetl.choosing.page import choice_page

    out = None if args.out is None else checked_out(args.out)
    samples = opened_data(args)
    if not args.backbones and args.bundle is None:
        raise BackboneError("name a BACKBONE to judge, such as torchvision/mobilenet_v2=DEFAULT, or a --bundle")
    ranking, likeness = None, None
    with shown_progress() as progress:
        if args.bundle is not None:
            likeness = compare_with_bundle(
                args.bundle, samples, most=args.samples, seed=args.seed, progress=progress
            )
        if args.backbones:
            ranking = choose(
                samples, args.backbones, most=args.samples, devices=args.device, precisions=args.precision,
                cache=args.cache, seed=args.seed, progress=progress,
            )  # fmt: skip
    if out is not None and ranking is not None:
        write_page(out, choice_page(ranking))
    if args.json:
        told = {} if ranking is None else asdict(ranking)
        print(line_of(told if likeness is None else {**told, "bundle": asdict(likeness)}).strip())
        return 0
    if likeness is not None:
        print(_compared(likeness))
    if ranking is not None:
        print(_table(ranking, out))
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What is left of it, and how to go on."""
    if args.cache is None:
        return "nothing was kept; with --cache FOLDER the same command goes on where it was"
    return f"features of what was judged are kept in {args.cache}; the same command goes on from there"


def _table(ranking: Ranking, out: Path | None) -> str:
    measure = "loo R2" if ranking.numbers else "loo %"
    width = max(map(len, ranking.titles))
    lines = [
        f"{'':>2} {'backbone':<{width}} {'D':>5} {measure:>7} {'LogME':>7} {'H-score':>8} {'gap':>6} {'ms':>7}"
        f" {'graph MB':>9} {'peak MB':>8}"
    ]
    for place, (title, one) in enumerate(zip(ranking.titles, ranking.candidates, strict=True), 1):
        if one.error:
            lines.append(f"{'-':>2} {title:<{width}} {one.error}")
            continue
        loo = f"{one.loo:.3f}" if ranking.numbers else f"{100 * one.loo:.1f}"
        large = [device for device, fits in one.fits if not fits]
        told = f"TOO LARGE for {', '.join(large)}" if large else "fits" if one.fits else ""
        lines.append(
            f"{place:>2} {title:<{width}} {one.dim:>5} {loo:>7} {one.log_evidence:>7.3f}"
            f" {_or_dash(one.h_score):>8} {_or_dash(one.gap):>6} {one.latency_ms:>7.2f} {one.graph_bytes / 1e6:>9.1f}"
            f" {one.peak_bytes / 1e6:>8.0f}  {told}".rstrip()
        )
    lines.append(
        f"{ranking.samples} samples of {ranking.dataset}; loo: ridge on the frozen features, each sample left out;"
        f" ms and MB on this machine{'; the page is ' + str(out) if out else ''}"
    )
    if any(one.precision == S8S8.name for one in ranking.candidates):
        lines.append("s8s8 is INT8 as the TensorRT family takes it; its ms on this processor say nothing of it there")
    return "\n".join(lines)


def _compared(one: Likeness) -> str:
    """What a bundle makes of the data, beside what it makes of its own guard set."""
    lines = [f"{one.bundle} beside {one.dataset}: {one.kind}, {one.meaning} ({one.why})"]
    rows = [
        ("like nothing it knows, %", f"{100 * one.unknown:.1f}", f"{100 * one.unknown_own:.1f}"),
        ("gap of features, nats", f"{one.gap:.2f}", f"{one.gap_own:.2f}"),
    ]
    if one.right is not None:
        rows.append((f"its head right, % ({one.known} of classes it knows)", _share(one.right), _share(one.right_own)))
    measure = "R2 of a head on these labels" if one.numbers else "a head on these labels alone right, %"
    rows.append((f"{measure} (loo)", f"{one.loo:.3f}" if one.numbers else _share(one.loo), ""))
    lines.append(f"  {'':<48} {f'{one.samples} of these':>16} {f'{one.guard} of its own':>16}")
    lines += [f"  {name:<48} {theirs:>16} {own:>16}".rstrip() for name, theirs, own in rows]
    if one.new_classes:
        more = " ..." if len(one.new_classes) > 8 else ""
        lines.append(f"  classes that it has not: {', '.join(one.new_classes[:8])}{more}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
