"""`edgetl-runtime explain`."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from typing import Any, Dict, Iterable, List, Tuple

from edgetl_runtime.arguments import whole
from edgetl_runtime.cli.images import labelled_paths, read_or_skip
from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.cli.texts import add_samples, asked_texts
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.heads import Explanation
from edgetl_runtime.terminal import shown

__all__ = ["EXAMPLE", "add_arguments", "run"]

logger = logging.getLogger(__name__)

EXAMPLE = "edgetl-runtime explain photo.jpg --state state/"
_MOST_CLASSES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    add_samples(parser, "image files, or folders of them")
    nearest = "nearest samples to name (default 5)"
    parser.add_argument("--neighbours", type=whole(), default=5, metavar="N", help=nearest)


def run(args: argparse.Namespace) -> int:
    """Print why, sample by sample."""
    told: List[Dict[str, Any]] = []
    with open_state(args, read_only=True) as session:
        sources = {sample.id: sample.source for sample in session.samples()}
        texts = asked_texts(session, args.text, args.images, False)
        named: Iterable[Tuple[str, Any]] = [(one.name, one.text) for one in texts]
        if not texts:
            named = ((str(path), read_or_skip(path)) for path, _ in labelled_paths(args.images))
        for name, sample in named:
            if sample is None:
                continue
            try:
                why = session.explain(sample, max(0, args.neighbours))
            except SampleError as error:
                logger.warning("skipped: %s: %s", name, error)
                continue
            told.append({"text" if texts else "image": name, **asdict(why)})
            if not args.json:
                _show(name, why, sources)
    if not told:
        raise SourceError(f"none of the {'texts can be used' if texts else 'files can be used as an image'}")
    if args.json:
        print(json.dumps(told))
    return 0


def _show(name: str, why: Explanation, sources: Dict[int, str]) -> None:
    print(f"{shown(name)}: {'numbers, as predict says' if why.label is None else why.label}")
    for evidence in why.evidence[:_MOST_CLASSES]:
        print(
            f"  {evidence.label!s:<30} {100 * evidence.probability:5.1f} %  decision {evidence.decision:.3g},"
            f" {evidence.count:.4g} samples behind it"
        )
    for near in why.neighbours:
        origin = sources.get(near.number)
        where = "a sample of the source" if near.number < 0 else f"sample {near.number}"
        print(f"  near        {where}: {near.label}{f' from {origin}' if origin else ''}, cosine {near.cosine:.3f}")
