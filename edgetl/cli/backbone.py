"""Which extractor a command is about: the same options wherever one is named."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from edgetl.cli.progress import say_stage

if TYPE_CHECKING:
    from edgetl.data import Dataset
    from edgetl.features import Extractor

__all__ = [
    "add_backbone_arguments", "add_network_arguments", "add_split_argument", "figures", "opened_backbone", "resize_of",
]  # fmt: skip

logger = logging.getLogger(__name__)


def add_backbone_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """One backbone and its weights."""
    parser.add_argument(
        "--backbone", required=required, metavar="NAME",
        help="torchvision/<model>, timm/<model>, onnx:<file>, text:<folder> (a sentence encoder with its"
        " tokenizer.json), or for windows of a time series edgetl/conv1d-s, edgetl/conv1d-m (any sensor),"
        " edgetl/logmel-s, edgetl/logmel-m (audio)",
    )  # fmt: skip
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="pretrained weights: a file, or DEFAULT to download them; without it they are random, for trials only",
    )


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """What overrides the declaration of the weights."""
    network = parser.add_argument_group("what the network expects, where it is not what its library says")
    network.add_argument("--output", metavar="TENSOR", help="the tensor that is the feature (onnx:)")
    network.add_argument("--mean", type=figures, metavar="M[,M,M]", help="subtracted from each pixel, 0..255")
    network.add_argument("--scale", type=figures, metavar="S[,S,S]", help="multiplied after that")
    network.add_argument("--size", type=int, metavar="PIXELS", help="side of the input; of a text, tokens")
    network.add_argument(
        "--resize", type=resize_of, metavar="PIXELS", help="shorter side before the centre crop, or stretch"
    )
    network.add_argument("--channels", choices=["RGB", "BGR", "L"], help="order of the channels")


def add_split_argument(parser: argparse.ArgumentParser) -> None:
    """What is held out together."""
    parser.add_argument(
        "--split", "--split-by", default="random", metavar="HOW",
        help="what is held out together: random (default), group[:BY], time[:BY] or domain:BY=NAME,NAME; BY is a column"
        " of the CSV, or a regular expression searched in the names of files",
    )  # fmt: skip


def opened_backbone(args: argparse.Namespace, windows: Dataset | None = None) -> Extractor:
    """The extractor that these options name, for these windows of a time series where there are such."""
    from edgetl.backbones import extractor

    say_stage(f"opening {args.backbone}")
    source = extractor(
        args.backbone,
        weights=args.weights,
        output=args.output,
        mean=args.mean,
        scale=args.scale,
        size=args.size,
        resize=args.resize,
        channels=args.channels,
        data=windows,
        turn=getattr(args, "turn", None),
    )
    if args.weights is None and not args.backbone.startswith(("onnx:", "text:", "edgetl/")):
        logger.warning("no --weights: %s has random ones, which only serves to try things out", args.backbone)
    return source


def resize_of(text: str) -> int | str:
    """A number of pixels, or "stretch"."""
    if text != "stretch" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number of pixels, or stretch; got {text!r}")
    return text if text == "stretch" else int(text)


def figures(text: str) -> float | tuple[float, ...]:
    """One number, or one a channel."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected one number, or one a channel with commas; got {text!r}") from error
    return numbers[0] if len(numbers) == 1 else numbers
