"""`edgetl-runtime learn`."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from edgetl_runtime.cli.images import folder_label, labelled_paths, read_or_skip
from edgetl_runtime.errors import SourceError
from edgetl_runtime.session import open_session

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime learn photo.jpg --label kestrel --state state/\n"
    "  edgetl-runtime learn shop/train --per-class 10 --state state/     (a folder a class)"
)
_BATCH = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders with a folder a class")
    parser.add_argument("--label", help="what all these images show; without it their folder names say so")
    parser.add_argument("--source", default="", help="where they come from, so that all of it can be forgotten at once")
    parser.add_argument("--per-class", type=int, metavar="N", help="at most N images a class, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the random draw (default 0)")


def run(args: argparse.Namespace) -> int:
    """Learn, and print what was learnt."""
    chosen: List[Tuple[Path, str]] = [
        (path, args.label if args.label is not None else folder_label(path, root))
        for path, root in labelled_paths(args.images)
    ]
    if args.per_class is not None:
        chosen = _draw(chosen, args.per_class, args.seed)
    ids: List[int] = []
    counts: Dict[str, int] = {}
    skipped = 0
    with open_session(None, args.state, allow_unsigned=args.allow_unsigned) as session:
        for start in range(0, len(chosen), _BATCH):
            batch = [(read_or_skip(path), label) for path, label in chosen[start : start + _BATCH]]
            good = [(frame, label) for frame, label in batch if frame is not None]
            skipped += len(batch) - len(good)
            ids += session.learn_many([f for f, _ in good], [label for _, label in good], source=args.source)
            for _, label in good:
                counts[label] = counts.get(label, 0) + 1
        generation: Optional[int] = session.status()["generation"]
    if not ids:
        raise SourceError(f"none of the {skipped} files could be read as an image; nothing was learnt")
    if args.json:
        print(json.dumps({"learnt": ids, "labels": counts, "skipped": skipped, "generation": generation}))
    else:
        note = f", {skipped} unreadable skipped" if skipped else ""
        print(f"learnt {len(ids)} samples of {len(counts)} classes{note}; generation {generation}")
    return 0


def _draw(chosen: List[Tuple[Path, str]], most: int, seed: int) -> List[Tuple[Path, str]]:
    """At most so many of each label, the same ones for the same seed."""
    generator = random.Random(seed)
    by_label: Dict[str, List[Tuple[Path, str]]] = {}
    for item in chosen:
        by_label.setdefault(item[1], []).append(item)
    drawn = []
    for label in sorted(by_label):
        drawn += generator.sample(by_label[label], min(most, len(by_label[label])))
    generator.shuffle(drawn)
    return drawn
