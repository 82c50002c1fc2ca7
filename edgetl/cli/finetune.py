"""`edgetl finetune`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.sinks.encoding import line_of

from edgetl.cli.backbone import add_backbone_arguments, add_network_arguments, add_split_argument
from edgetl.cli.progress import shown_progress
from edgetl.cli.tasks import add_tasks_argument
from edgetl.cli.windows import add_window_arguments, opened_network_and_data
from edgetl.progress import silent
from edgetl.tuning.recipes import CANDIDATES, DEFAULT, RECIPES, Recipe

__all__ = ["EXAMPLE", "add_arguments", "interrupted", "run"]

_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
_OWN = ("epochs", "batch", "rate", "quantization_aware")

EXAMPLE = (
    "edgetl finetune --backbone torchvision/mobilenet_v2 --weights DEFAULT --data photos/ --out tuned.safetensors\n"
    "  edgetl build --backbone torchvision/mobilenet_v2 --weights tuned.safetensors --data photos/ --out birds.edgetl\n"
    "  edgetl finetune ... --data drive.csv --tasks surface:class,angle:number --out tuned.safetensors\n"
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
    add_tasks_argument(parser, "They share the network; a bundle has one (edgetl build --tasks ... --task NAME)")
    parser.add_argument(
        "--out", metavar="FILE",
        help="weights to write, NAME.safetensors: --weights of edgetl build; NAME.tuning.json says how the run went",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", choices=[DEFAULT, *RECIPES], default=DEFAULT,
        help=f"what is trained; {DEFAULT} (the default) chooses by short runs on the training part, which takes several"
        " times as long as one recipe alone",
    )  # fmt: skip
    parser.add_argument(
        "--candidates", type=lambda text: text.split(","), metavar="RECIPE[,RECIPE]",
        help=f"what {DEFAULT} chooses from (default {','.join(CANDIDATES)})",
    )  # fmt: skip
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
        + ", ".join(field.name for field in fields(Recipe) if field.name not in _OWN),
    )  # fmt: skip
    parser.add_argument(
        "--quantization-aware", type=int, metavar="EPOCHS",
        help="in the end teach the network to give the same features when it is rounded to INT8 (default 0)",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole(0, MOST_WHOLE), default=0, help="of the split and of training (default 0)")
    parser.add_argument(
        "--holdout", type=float, default=0.2, metavar="SHARE", help="kept from training to measure (default 0.2)"
    )
    parser.add_argument("--scratch", action="store_true", help="also train from random weights, to see what they give")
    parser.add_argument(
        "--no-alone", action="store_true", help="with --tasks: do not also train each task alone, to compare"
    )
    parser.add_argument("--log", metavar="FOLDER", help='for TensorBoard; needs pip install "edgetl[tensorboard]"')
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
    from edgetl.tuning.record import checked_weights, record_of

    out = checked_weights(args.out)
    source, samples = opened_network_and_data(args)
    leads = os.environ.get("RANK", "0") == "0"
    changes = {**dict(args.set), **{name: getattr(args, name) for name in _OWN}}
    with shown_progress() as shown:
        result = tune(
            source, samples, args.recipe, candidates=args.candidates, seed=args.seed, checkpoints=args.checkpoints,
            cache=args.cache, compare_scratch=args.scratch, compare_alone=not args.no_alone, log=args.log,
            progress=shown if leads else silent, **changes,
        )  # fmt: skip
    if not leads:
        return 0
    if out is not None:
        save_tuned(result, out, ["edgetl", *sys.argv[1:]])
    if args.json:
        print(line_of({**record_of(result), "out": None if out is None else str(out)}).strip())
    else:
        print(_text(result, out))
    return 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C left behind."""
    if args.checkpoints:
        return f"the same command goes on from {args.checkpoints}, to the same weights; at most a minute is done again"
    return "nothing was kept, and the same command starts anew; with --checkpoints FOLDER it would go on where it was"


def _text(result: Any, out: Any) -> str:
    lines = [f"{result.extractor.name}, recipe {result.name}, {result.seconds:.0f} s" + (f" -> {out}" if out else "")]
    numbers = result.comparison is not None and list(result.comparison.frozen) == ["ridge"]
    if result.choice is not None and result.choice.trials:
        scores = ", ".join(f"{name} {_one(value, numbers)}" for name, value in result.choice.scores.items())
        trials = f"{len(result.choice.trials)} trials on the training part, {result.choice.seconds:.0f} s"
        lines.append(f"  chosen by {trials}: {scores}")
    elif result.choice is not None:
        lines.append(f"  not chosen by trials: {result.choice.why}")
    if result.epochs:
        of = f"{len(result.epochs)} epochs, loss {result.epochs[0].loss:.3f} -> {result.epochs[-1].loss:.3f}"
        lines.append(f"  {of}; kept the weights after epoch {result.kept_epoch + 1}")
    if result.comparison is None and not result.tasks:
        return "\n".join([*lines, "  nothing is held out, so nothing was measured (--holdout)"])
    for task, compared in {"": result.comparison, **result.tasks}.items():
        if compared is not None:
            lines += _table(task, compared, result)
    if result.tasks:
        lines.append("  a bundle has one task: build one for each that the device needs, with these weights")
    return "\n".join(lines)


def _table(task: str, compared: Any, result: Any) -> list[str]:
    heads = list(compared.frozen)
    numbers = heads == ["ridge"]
    what = f"{task}: " * bool(task) + f"{'R2' if numbers else '% right'} on {compared.samples} held-out samples"
    lines = [f"  {what:<44}" + "".join(f"{h:>13}" for h in heads)]
    for name, scores in (
        ("features as they were", compared.frozen),
        (f"after recipe {result.name}", {} if result.kept_epoch is None else compared.tuned),
        ("the same, trained on this task alone", compared.alone),
        ("the same network from scratch", compared.scratch),
    ):
        if scores:
            lines.append(f"  {name:<44}" + "".join(f"{_one(scores[head], numbers):>13}" for head in heads))
    own = "" if compared.own is None else f"; the linear head it was trained with {_one(compared.own, numbers)}"
    plain = "always the mean" if numbers else "always the commonest class"
    return [*lines, f"  {plain} {_one(compared.plain, numbers)}{own}"]


def _one(value: float, numbers: bool) -> str:
    return f"{value:.3f}" if numbers else f"{100 * value:.1f}"


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    kinds: Mapping[str, Any] = {field.name: type(getattr(Recipe(), field.name)) for field in fields(Recipe)}
    if name not in kinds or not value:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE with a field of {', '.join(kinds)}; got {text!r}")
    if name in _OWN:
        raise argparse.ArgumentTypeError(f"{name} has an option of its own: --{name.replace('_', '-')} {value[:40]}")
    try:
        return name, _SWITCH[value.lower()] if kinds[name] is bool else kinds[name](value)
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"{name} is true or false; got {value[:40]!r}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{name} takes a {kinds[name].__name__}; got {value!r}") from error
