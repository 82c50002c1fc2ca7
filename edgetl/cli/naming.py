"""Classes that a bundle is to know by name: the options of `edgetl build`."""

from __future__ import annotations

import argparse
from typing import Any

from edgetl.building.class_vectors import WEIGHT

__all__ = ["add_naming_arguments", "naming_of"]


def add_naming_arguments(parser: argparse.ArgumentParser) -> None:
    """Classes by vectors or by names, beside --data or without it."""
    group = parser.add_argument_group(
        "classes by name, beside the samples of --data or without any",
        "the device answers from the names, and learns from its first label on as ever",
    )
    group.add_argument(
        "--class-names", metavar="FILE",
        help="for a text: backbone, a class a line, `name` or `name: description`; the encoder reads them",
    )  # fmt: skip
    group.add_argument(
        "--class-vectors", metavar="FILE",
        help="a vector a class, such as the text tower of an image-text model gives: .safetensors with a tensor a"
        " class, .csv with name,v1,...,vD, or .npy (K, D) with a .txt of K names beside it",
    )  # fmt: skip
    group.add_argument(
        "--class-weight", type=float, default=WEIGHT, metavar="N",
        help="how many samples each counts as (default %(default)g)",
    )  # fmt: skip
    group.add_argument(
        "--background", metavar="FOLDER",
        help="without --data: samples of which no label is known, a folder of images or .txt files, or a .txt with a"
        " text a line; for text the names will do",
    )  # fmt: skip


def naming_of(args: argparse.Namespace) -> dict[str, Any]:
    """These options as `edgetl.build` takes them."""
    return {
        "class_names": args.class_names, "class_vectors": args.class_vectors, "class_weight": args.class_weight,
        "background": args.background,
    }  # fmt: skip
