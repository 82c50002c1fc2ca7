"""`edgetl-runtime learn`."""

from __future__ import annotations

import argparse
import json
import logging
import random
from pathlib import Path
from typing import Any, Collection, Dict, List, Sequence, Tuple, Union

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.cli.images import folder_label, labelled_paths, read_or_skip
from edgetl_runtime.cli.numbers import image_targets, named_value
from edgetl_runtime.cli.progress import shown_count
from edgetl_runtime.cli.sessions import add_keep_raw, add_policy, open_state
from edgetl_runtime.cli.texts import NamedText, add_samples, asked_texts
from edgetl_runtime.errors import EdgetlError, SampleError, SourceError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.session import Session

__all__ = ["EXAMPLE", "add_arguments", "run"]

logger = logging.getLogger(__name__)

EXAMPLE = (
    "edgetl-runtime learn photo.jpg --label kestrel --state state/\n"
    "  edgetl-runtime learn shop/train --per-class 10 --state state/     (a folder a class)\n"
    "  edgetl-runtime learn drive.csv --state state/     (a bundle of numbers: columns path,angle,...)\n"
    '  edgetl-runtime learn --text "turn on the light" --label lights --state state/     (a bundle of text)'
)
_BATCH = 64
# A label, or the numbers of a head that gives numbers.
Truth = Union[str, Dict[str, float]]
# An image file, or a text.
Found = Union[Path, NamedText]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    add_samples(parser, "image files, or folders with a folder a class")
    parser.add_argument(
        "--label",
        help="what all these images show; without it their folder names say so, for a file by itself only where a class"
        " is called like them",
    )
    parser.add_argument(
        "--target", type=named_value, action="append", default=[], metavar="NAME=VALUE",
        help="for a bundle of numbers: one that all these images have; may be repeated. A CSV names them line by line",
    )  # fmt: skip
    parser.add_argument("--source", default="", help="where they come from, so that all of it can be forgotten at once")
    parser.add_argument("--per-class", type=whole(), metavar="N", help="at most N images a class, drawn at random")
    parser.add_argument(
        "--teach", action="store_true",
        help="a person gives these labels on purpose: the first of a class counts like a new class",
    )  # fmt: skip
    add_policy(parser)
    add_keep_raw(parser)
    parser.add_argument("--seed", type=whole(0, MOST_WHOLE), default=0, help="of the random draw (default 0)")


def run(args: argparse.Namespace) -> int:
    """Learn, and print what was learnt."""
    with open_state(args) as session:
        before = session.status()
        names = [output["name"] for output in before["outputs"]]
        texts = asked_texts(session, args.text, args.images, args.label is None)
        chosen = _numbered(args, names) if names else _labelled(args, texts, before["classes"])
        learnt: List[Tuple[int, str]] = []
        try:
            with shown_count(f"of {len(chosen)} samples ...") as tell:
                for start in range(0, len(chosen), _BATCH):
                    learnt += _learn(session, chosen[start : start + _BATCH], args.source, args.teach)
                    tell(len(learnt))
        except EdgetlError:
            if learnt:
                logger.warning("stopped after %d samples; those are learnt and kept", len(learnt))
            raise
        status = session.status()
    generation, waiting = int(status["generation"]), int(status["waiting_samples"])
    skipped = len(chosen) - len(learnt)
    if not learnt:
        used = "texts can be used" if texts else "files can be used as an image"
        raise SourceError(f"none of the {skipped} {used}; nothing was learnt")
    counts: Dict[str, int] = {}
    for _, label in learnt if not names else ():
        counts[label] = counts.get(label, 0) + 1
    new = [label for label in counts if label not in before["classes"]]
    if args.json:
        ids = [sample_id for sample_id, _ in learnt]
        print(
            json.dumps(
                {
                    "learnt": ids, "labels": counts, "new_classes": new, "skipped": skipped, "generation": generation,
                    "waiting_samples": waiting,
                }
            )
        )  # fmt: skip
    else:
        note = f", {skipped} unusable skipped" if skipped else ""
        if len(learnt) == 1:
            what = f"sample {learnt[0][0]}" + ("" if names else f" as {learnt[0][1]}")
        else:
            classes = "" if names else " of 1 class" if len(counts) == 1 else f" of {len(counts)} classes"
            what = f"{len(learnt)} samples{classes}"
        print(f"learnt {what}{note}; generation {generation}")
        if new:
            print(f"  new here: {', '.join(new[:12])}{' ...' if len(new) > 12 else ''}")
        if waiting:
            print(f"  learnt and not live yet: {waiting}; `edgetl-runtime review` says why")
    return 0


def _labelled(
    args: argparse.Namespace, texts: Sequence[NamedText], classes: Collection[str]
) -> List[Tuple[Found, Truth]]:
    if args.target:
        raise SourceError("this bundle has classes, so its images have a --label, not a --target")
    given = None if args.label is None else plain_text(args.label)
    chosen: List[Tuple[Found, str]] = []
    for one in texts:
        if given is None and one.label is None:
            raise SourceError(f"which class is {one.name[:60]!r}? Say it with --label")
        chosen.append((one, given or one.label or ""))
    for path, root in labelled_paths(args.images) if not texts else ():
        chosen.append((path, folder_label(path, root, classes) if given is None else given))
    return list(chosen if args.per_class is None else _draw(chosen, args.per_class, args.seed))


def _numbered(args: argparse.Namespace, names: List[str]) -> List[Tuple[Found, Truth]]:
    if args.label is not None or args.per_class is not None:
        raise SourceError(f"this bundle gives numbers, {', '.join(names)}: it has no labels and no classes")
    return list(image_targets(args.images, names, dict(args.target)))


def _learn(session: Session, batch: List[Tuple[Found, Truth]], source: str, teach: bool) -> List[Tuple[int, str]]:
    """Id and label of what was learnt, in one transaction; files that cannot be used are said and left out."""
    frames, truths = [], []
    for found, truth in batch:
        frame: Any = found.text if isinstance(found, NamedText) else read_or_skip(found)
        if frame is None:
            continue
        try:
            session.preprocess(frame)
        except SampleError as error:
            logger.warning("skipped: %s: %s", found.name if isinstance(found, NamedText) else found, error)
            continue
        frames.append(frame)
        truths.append(truth)
    labels = [truth for truth in truths if isinstance(truth, str)]
    targets = [truth for truth in truths if not isinstance(truth, str)]
    given: Dict[str, Any] = {"targets": targets} if targets else {"labels": labels}
    ids = session.learn_many(frames, **given, source=source, on_purpose=teach)
    return list(zip(ids, labels if labels else ["numbers"] * len(ids)))


def _draw(chosen: List[Tuple[Found, str]], most: int, seed: int) -> List[Tuple[Found, str]]:
    """At most so many of each label, the same ones for the same seed."""
    generator = random.Random(seed)
    by_label: Dict[str, List[Tuple[Found, str]]] = {}
    for item in chosen:
        by_label.setdefault(item[1], []).append(item)
    drawn = []
    for label in sorted(by_label):
        drawn += generator.sample(by_label[label], min(most, len(by_label[label])))
    generator.shuffle(drawn)
    return drawn
