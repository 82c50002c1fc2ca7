"""`edgetl finetune`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgetl.cli.backbone import add_backbone_arguments, add_network_arguments, add_split_argument
from edgetl.cli.progress import shown_progress
from edgetl.cli.windows import add_window_arguments, opened_network_and_data
from edgetl.progress import silent
from edgetl.tuning.recipes import RECIPES, Recipe

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl finetune --backbone torchvision/mobilenet_v2 --weights DEFAULT --data photos/ --out tuned.safetensors\n"
    "  edgetl build --backbone torchvision/mobilenet_v2 --weights tuned.safetensors --data photos/ --out birds.edgetl\n"
    "  torchrun --nproc-per-node 2 -m edgetl.cli finetune ...    the same run by two processes"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    add_backbone_arguments(parser)
    parser.add_argument(
        "--data", required=True, metavar="FOLDER", help="a folder of images with a folder a class, or a CSV"
    )
    parser.add_argument(
        "--targets", type=lambda text: text.split(","), metavar="NAME[,NAME]",
        help="numbers in place of classes: columns of the CSV; its last rows are held out",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="weights to write, NAME.safetensors: --weights of edgetl build")
    parser.add_argument(
        "--recipe", choices=list(RECIPES), default="last-blocks", help="what is trained (default last-blocks)"
    )
    for name, kind, what in (
        ("epochs", int, "passes over the data"),
        ("batch", int, "samples a step, over all processes together"),
        ("rate", float, "learning rate of the last stage"),
    ):
        told = ", ".join(f"{recipe} {getattr(row, name):g}" for recipe, row in RECIPES.items() if row.epochs)
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=f"{what} (default {told})")
    parser.add_argument(
        "--set", action="append", default=[], type=_change, metavar="FIELD=VALUE",
        help="any other field of the recipe, may be repeated: "
        + ", ".join(field.name for field in fields(Recipe) if field.name not in ("epochs", "batch", "rate")),
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the split and of training (default 0)")
    parser.add_argument(
        "--holdout", type=float, default=0.2, metavar="SHARE", help="kept from training to measure (default 0.2)"
    )
    parser.add_argument("--scratch", action="store_true", help="also train from random weights, to see what they give")
    parser.add_argument(
        "--checkpoints", metavar="FOLDER", help="where the run is saved every minute; run again to go on after a kill"
    )
    parser.add_argument("--cache", metavar="FOLDER", help="keep features here, by network and data, for the next run")
    add_split_argument(parser)
    add_window_arguments(parser)
    add_network_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, write the weights, and print what they are worth."""
    from edgetl.tuning import save_tuned, tune
    from edgetl.tuning.record import checked_out, record_of

    out = checked_out(args.out)
    source, samples = opened_network_and_data(args)
    leads = os.environ.get("RANK", "0") == "0"
    changes = {**dict(args.set), "epochs": args.epochs, "batch": args.batch, "rate": args.rate}
    with shown_progress() as shown:
        result = tune(
            source, samples, args.recipe, seed=args.seed, checkpoints=args.checkpoints, cache=args.cache,
            compare_scratch=args.scratch, progress=shown if leads else silent, **changes,
        )  # fmt: skip
    if not leads:
        return 0
    if out is not None:
        save_tuned(result, out, ["edgetl", *sys.argv[1:]])
    if args.json:
        print(json.dumps({**record_of(result), "out": None if out is None else str(out)}))
    else:
        print(_text(result, out))
    return 0


def _text(result: Any, out: Any) -> str:
    lines = [f"{result.extractor.name}, recipe {result.name}, {result.seconds:.0f} s" + (f" -> {out}" if out else "")]
    if result.epochs:
        of = f"{len(result.epochs)} epochs, loss {result.epochs[0].loss:.3f} -> {result.epochs[-1].loss:.3f}"
        lines.append(f"  {of}; kept the weights after epoch {result.kept_epoch + 1}")
    compared = result.comparison
    if compared is None:
        return "\n".join([*lines, "  nothing is held out, so nothing was measured (--holdout)"])
    heads = list(compared.frozen)
    numbers = heads == ["ridge"]
    what = "R2" if numbers else "% right"
    lines.append(f"  {f'{what} on {compared.samples} held-out samples':<34}" + "".join(f"{h:>13}" for h in heads))
    tuned = {} if result.kept_epoch is None else compared.tuned
    for name, scores in (
        ("features as they were", compared.frozen),
        (f"after recipe {result.name}", tuned),
        ("the same network from scratch", compared.scratch),
    ):
        if scores:
            lines.append(f"  {name:<34}" + "".join(f"{_one(scores[head], numbers):>13}" for head in heads))
    own = "" if compared.own is None else f"; the linear head it was trained with {_one(compared.own, numbers)}"
    plain = "always the mean" if numbers else "always the commonest class"
    lines.append(f"  {plain} {_one(compared.plain, numbers)}{own}")
    return "\n".join(lines)


def _one(value: float, numbers: bool) -> str:
    return f"{value:.3f}" if numbers else f"{100 * value:.1f}"


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    kinds: Mapping[str, Any] = {field.name: type(getattr(Recipe(), field.name)) for field in fields(Recipe)}
    if name not in kinds or not value:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE with a field of {', '.join(kinds)}; got {text!r}")
    if kinds[name] is bool:
        return name, value.lower() in ("1", "true", "yes", "on")
    try:
        return name, kinds[name](value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{name} takes a {kinds[name].__name__}; got {value!r}") from error
