"""`edgetl-runtime predict`."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any, Collection, Dict, Iterable, Iterator, List, Sequence, Tuple

from edgetl_runtime.cli.images import folder_label, labelled_paths, read_or_skip
from edgetl_runtime.cli.numbers import errors_told, image_targets
from edgetl_runtime.cli.progress import shown_count
from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.cli.texts import NamedText, add_samples, asked_texts
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.terminal import shown
from edgetl_runtime.types import Prediction
from edgetl_runtime.updating import note_answer

__all__ = ["EXAMPLE", "add_arguments", "run"]

logger = logging.getLogger(__name__)

EXAMPLE = (
    "edgetl-runtime predict photo.jpg --state state/\n  edgetl-runtime predict shop/test --check --state state/\n"
    "  edgetl-runtime predict drive.csv --check --state state/     (a bundle of numbers)\n"
    '  edgetl-runtime predict --text "turn on the light" --state state/     (a bundle of text)'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    add_samples(parser, "image files, or folders of them")
    parser.add_argument(
        "--check",
        action="store_true",
        help="take folder names as the truth and print the accuracy; or the numbers of a CSV, and print the error",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line a sample, or the accuracy against the labels, or the error against the numbers of a CSV."""
    rows: List[Dict[str, Any]] = []
    skipped = 0
    with open_state(args, read_only=True) as session:
        status = session.status()
        names = [output["name"] for output in status["outputs"]]
        texts = asked_texts(session, args.text, args.images, args.check)
        kind = "text" if texts else "image"
        images = _images(args.images, names, status["classes"], args.check)
        with shown_count(f"{kind}s ...") as tell:
            for name, sample, truth in _texts(texts) if texts else images:
                if sample is None:
                    skipped += 1
                    continue
                try:
                    prediction = session.predict(sample)
                except SampleError as error:
                    logger.warning("skipped: %s: %s", name, error)
                    skipped += 1
                    continue
                row: Dict[str, Any] = {
                    kind: name,
                    **_said(prediction),
                    "outlier": prediction.outlier,
                    "generation": prediction.generation,
                    "latency_ms": prediction.latency_ms,
                }
                if args.check:
                    row["truth"] = truth
                rows.append(row)
                if args.json or args.check:
                    tell(len(rows))
                else:
                    print(f"{shown(name)}\t{_words(prediction)}\toutlier {prediction.outlier:.1f}")
    if rows:
        note_answer(Path(args.state), status["bundle"])
    else:
        raise SourceError(f"none of the {skipped} {'texts can be used' if texts else 'files can be used as an image'}")
    if args.check and names:
        _tell_errors(rows, names, skipped, args.json)
    elif args.check:
        right = sum(row["label"] == row["truth"] for row in rows)
        summary = {f"{kind}s": len(rows), "right": right, "accuracy": right / len(rows), "skipped": skipped}
        if args.json:
            print(json.dumps({**summary, "predictions": rows}))
        else:
            accuracy, generation = 100 * right / len(rows), rows[-1]["generation"]
            note = f", {skipped} unusable skipped" if skipped else ""
            print(f"{right} of {len(rows)} {kind}s right: {accuracy:.1f} % (generation {generation}){note}")
    elif args.json:
        print(json.dumps({"predictions": rows, "skipped": skipped}))
    return 0


def _texts(texts: Iterable[NamedText]) -> Iterator[Tuple[str, Any, Any]]:
    """Name, sample and truth of each."""
    for one in texts:
        yield one.name, one.text, one.label


def _images(
    arguments: Sequence[str], names: Sequence[str], classes: Collection[str], check: bool
) -> Iterator[Tuple[str, Any, Any]]:
    """Name, sample (None: not readable, said on stderr) and truth of each, in order."""
    if names and check:
        for path, numbers in image_targets(arguments, names, {}):
            yield str(path), read_or_skip(path), numbers
        return
    for path, root in labelled_paths(arguments):
        frame = read_or_skip(path)
        yield str(path), frame, folder_label(path, root, classes) if check and frame is not None else None


def _said(prediction: Prediction) -> Dict[str, Any]:
    if prediction.values:
        return {"values": prediction.values, "deviations": prediction.deviations}
    return {"label": prediction.label, "probability": max(prediction.probabilities.values())}


def _words(prediction: Prediction) -> str:
    if prediction.values:
        return "\t".join(
            f"{name} {value:.4g} +- {prediction.deviations[name]:.2g}" for name, value in prediction.values.items()
        )
    return f"{prediction.label}\t{max(prediction.probabilities.values()):.3f}"


def _tell_errors(rows: List[Dict[str, Any]], names: List[str], skipped: int, as_json: bool) -> None:
    told = errors_told(rows, names)
    if as_json:
        print(json.dumps({"images": len(rows), "skipped": skipped, "errors": told, "predictions": rows}))
        return
    note = f", {skipped} unusable skipped" if skipped else ""
    print(f"{len(rows)} images (generation {rows[-1]['generation']}){note}")
    for name, figures in told.items():
        print(
            f"  {name:<16} root mean square error {figures['rmse']:.4g}, R2 {figures['r2']:.3f},"
            f" {100 * figures['within_one_deviation']:.0f} % within one deviation"
        )
