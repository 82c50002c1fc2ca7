"""`edgetl build`."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.heads import HEADS
from edgetl_runtime.out_files import checked_out
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.types import Output

from edgetl.building.build import build
from edgetl.building.result import BuildResult
from edgetl.cli.backbone import (
    add_backbone_arguments,
    add_network_arguments,
    add_split_argument,
    opened_backbone,
)
from edgetl.cli.naming import add_naming_arguments, naming_of
from edgetl.cli.passphrase import ask
from edgetl.cli.progress import shown_progress
from edgetl.cli.tasks import add_tasks_argument
from edgetl.cli.windows import add_window_arguments, opened_network_and_data
from edgetl.key_files import read_private_key
from edgetl.project import parse_output
from edgetl.quantize.fidelity import Limits
from edgetl.reporting.build_page import write_report

__all__ = ["EXAMPLE", "add_arguments", "interrupted", "run"]

EXAMPLE = (
    "edgetl build --backbone torchvision/mobilenet_v2 --weights mobilenet_v2.safetensors"
    " --data photos/ --out birds.edgetl\n"
    "  edgetl build --backbone edgetl/conv1d-s --data motion.csv --window 50 --rate-hz 50 --out motion.edgetl\n"
    "  edgetl build --backbone text:minilm/ --class-names intents.txt --out intents.edgetl"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    add_backbone_arguments(parser)
    parser.add_argument(
        "--data", metavar="FOLDER",
        help="a folder of images, or of .txt files, with a folder a class; or a CSV of path,label or of text,label; for"
        " recordings see --window, without labelled data --class-names",
    )  # fmt: skip
    parser.add_argument(
        "--targets", type=_outputs, metavar="NAME[:LOW:HIGH[:UNIT]],...",
        help="numbers in place of classes, such as angle:-1:1,throttle: columns of the CSV; its last rows are held out",
    )  # fmt: skip
    add_tasks_argument(parser, "As in edgetl finetune, so that the same samples are held out")
    parser.add_argument("--task", metavar="NAME", help="the one of --tasks that the bundle has")
    parser.add_argument("--out", required=True, metavar="FILE", help="the bundle to write, NAME.edgetl")
    parser.add_argument("--name", help="name of the bundle (default: that of the file)")
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="ID",
        help="a board it is for (see edgetl devices); may be repeated",
    )
    parser.add_argument(
        "--precision",
        type=_names,
        metavar="P[,P]",
        help="only these of fp32, fp16, int8 (s8s8, u8s8); default: what the profile of each board wants",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=Limits.max_drop,
        metavar="POINTS",
        help=f"most accuracy that a precision may cost, cross-validated (default {Limits.max_drop:g})",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=Limits.min_agreement,
        metavar="PERCENT",
        help=f"least share of decisions that it shares with float32 (default {Limits.min_agreement:g})",
    )
    parser.add_argument(
        "--quantization-aware",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="tune the network to be quantized, where quantizing it misses these limits (default 0)",
    )
    parser.add_argument(
        "--choice", metavar="FILE", help="what edgetl choose --json printed: the page then says why this backbone"
    )
    parser.add_argument("--key", metavar="FILE", help="private key to sign with (see edgetl keygen)")
    parser.add_argument(
        "--sequence", type=int, default=1, metavar="N", help="release number, to rise with every release"
    )
    parser.add_argument(
        "--holdout", type=float, default=0.2, metavar="SHARE", help="kept from training to measure (default 0.2)"
    )
    parser.add_argument("--seed", type=whole(0, MOST_WHOLE), default=0, help="of the split (default 0)")
    parser.add_argument(
        "--head",
        choices=sorted(HEADS),
        help="what learns on the features (default slda; with --targets ridge, or ridge_rp). softmax, mlp and knn are"
        " refitted from stored samples: the bundle then carries features of source samples, which can tell much of"
        " them; the others need sums alone",
    )
    add_split_argument(parser)
    add_naming_arguments(parser)
    add_window_arguments(parser)
    add_network_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Build, and print what was built."""
    from edgetl.reporting.records import read_choice, tuning_beside
    from edgetl.tuning import tune
    from edgetl.tuning.record import record_of

    checked_out(args.out)  # this and the key before minutes of work
    key = None if args.key is None else read_private_key(args.key, ask)
    ranking = None if args.choice is None else read_choice(args.choice)
    tuning = tuning_beside(args.weights)
    source, samples = opened_network_and_data(args) if args.data else (opened_backbone(args), None)
    with shown_progress() as progress:
        if args.backbone.startswith("edgetl/") and args.weights is None and samples is not None:
            # Nobody pretrained these, and they are small. Persons are too few to spare some for choosing an epoch.
            tuned = tune(source, samples, recipe="scratch", validation=0.0, seed=args.seed, progress=progress)
            source, tuning = tuned.extractor, record_of(tuned)
        result = build(
            source,
            samples,
            out=args.out,
            name=args.name,
            devices=args.device,
            precisions=args.precision,
            max_drop=args.max_drop,
            min_agreement=args.min_agreement,
            quantization_aware=args.quantization_aware,
            key=key,
            head=args.head,
            sequence=args.sequence,
            **naming_of(args),
            progress=progress,
        )
        report = write_report(
            result, samples, tuning=tuning, ranking=ranking, commands=[shlex.join(["edgetl", *sys.argv[1:]])],
            progress=progress,
        )  # fmt: skip
    told = line_of({**_plain(result), "report": str(report)}).strip()
    print(told if args.json else f"{_text(result)}\n  report: {report}")
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C left behind."""
    # The bundle appears whole or not at all, so one of that name is the new one, whole, or the one before.
    there = f"{args.out} is whole, as it was or new" if Path(args.out).exists() else f"{args.out} is not written"
    return f"{there}; the same command starts anew"


def _text(result: BuildResult) -> str:
    lines = [
        f"{result.path}  {result.bundle_bytes / 1e6:.1f} MB, {'signed' if result.signed else 'NOT SIGNED'},"
        f" id {result.bundle_id[:12]}",
        f"  {_said(result)}, {result.training_samples} training samples, {result.dim} features",
    ]
    if result.skipped:
        lines.append("  skipped: " + ", ".join(f"{count} {reason}" for reason, count in result.skipped.items()))
    if result.held_out_accuracy is not None and result.majority_accuracy is not None:
        lines.append(
            f"  {100 * result.held_out_accuracy:.1f} % right on {result.held_out_samples} held-out samples"
            f" (always the commonest class: {100 * result.majority_accuracy:.1f} %)"
        )
    for one in result.output_errors:
        lines.append(
            f"  {one.output.name}: root mean square error {one.rmse:.4g} on {result.held_out_samples} held-out samples"
            f" (always the mean: {one.rmse_of_mean:.4g}), R2 {one.r2:.3f}"
        )
    parity = result.parity
    lines.append(
        f"  source framework against the exported graph, {parity.samples} samples: features within"
        f" {parity.max_rel:.1e} of the largest, {100 * result.decisions_agreed:.0f} % of decisions equal"
    )
    if result.source_features:
        lines.append(
            f"  its head carries the features of {result.source_features} source samples: they can tell much of those"
        )
    lines += _variants(result)
    lines.append(f"  {result.seconds['total']:.0f} s: {_seconds(result)}")
    return "\n".join(lines)


def _variants(result: BuildResult) -> list[str]:
    """What became of each precision, and what each board tries."""
    lines = []
    for variant in result.variants:
        size = f", {variant.graph_bytes / 1e6:.1f} MB" if variant.graph_bytes else ""
        lines.append(f"  {variant.name}{size}, {'shipped' if variant.shipped else 'NOT SHIPPED'}: {variant.why}")
        for name, figures in variant.engines.items():
            if figures.speedup is not None:
                lines.append(
                    f"    {name}: {figures.latency_ms:.2f} ms, {figures.speedup:.2f} times as fast as float32 there"
                )
    for device, choices in (result.plans or {}).items():
        tried = ", then ".join(dict.fromkeys(f"{choice.variant} in {choice.engine}" for choice in choices))
        lines.append(f"  {device} tries {tried}")
    return [*lines, f"  {result.caution}"] if result.caution else lines


def _seconds(result: BuildResult) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in result.seconds.items() if name != "total")


def _said(result: BuildResult) -> str:
    if result.classes:
        return f"{len(result.classes)} classes"
    return f"numbers: {', '.join(output.name for output in result.outputs)}"


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _outputs(text: str) -> list[Output]:
    try:
        return [parse_output(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected NAME or NAME:LOW:HIGH:UNIT; got {text!r}") from error


def _plain(result: BuildResult) -> dict[str, Any]:
    plain = asdict(replace(result, answers=None))
    del plain["answers"]
    return {**plain, "path": str(result.path), "confusion": result.confusion.tolist()}
