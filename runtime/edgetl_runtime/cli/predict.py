"""`edgetl-runtime predict`."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any, Dict, List

from edgetl_runtime.cli.images import folder_label, labelled_paths, read_or_skip
from edgetl_runtime.cli.numbers import errors_told, image_targets
from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.types import Prediction
from edgetl_runtime.updating import note_answer

__all__ = ["EXAMPLE", "add_arguments", "run"]

logger = logging.getLogger(__name__)

EXAMPLE = (
    "edgetl-runtime predict photo.jpg --state state/\n  edgetl-runtime predict shop/test --check --state state/\n"
    "  edgetl-runtime predict drive.csv --check --state state/     (a bundle of numbers)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument(
        "--check",
        action="store_true",
        help="take folder names as the truth and print the accuracy; or the numbers of a CSV, and print the error",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line an image, or the accuracy against the folder names, or the error against the numbers of a CSV."""
    rows: List[Dict[str, Any]] = []
    skipped = 0
    with open_state(args, read_only=True) as session:
        status = session.status()
        names = [output["name"] for output in status["outputs"]]
        truths: List[Any] = []
        images = labelled_paths(args.images) if not (names and args.check) else []
        if names and args.check:
            truths = image_targets(args.images, names, {})
            images = [(path, None) for path, _ in truths]
        for number, (path, root) in enumerate(images):
            frame = read_or_skip(path)
            if frame is None:
                skipped += 1
                continue
            try:
                prediction = session.predict(frame)
            except SampleError as error:
                logger.warning("skipped: %s: %s", path, error)
                skipped += 1
                continue
            row: Dict[str, Any] = {
                "image": str(path),
                **_said(prediction),
                "outlier": prediction.outlier,
                "generation": prediction.generation,
                "latency_ms": prediction.latency_ms,
            }
            if args.check:
                row["truth"] = truths[number][1] if names else folder_label(path, root)
            rows.append(row)
            if not args.json and not args.check:
                print(f"{path}\t{_words(prediction)}\toutlier {prediction.outlier:.1f}")
    if rows:
        note_answer(Path(args.state), status["bundle"])
    else:
        raise SourceError(f"none of the {skipped} files can be used as an image")
    if args.check and names:
        _tell_errors(rows, names, skipped, args.json)
    elif args.check:
        right = sum(row["label"] == row["truth"] for row in rows)
        summary = {"images": len(rows), "right": right, "accuracy": right / len(rows), "skipped": skipped}
        if args.json:
            print(json.dumps({**summary, "predictions": rows}))
        else:
            accuracy, generation = 100 * right / len(rows), rows[-1]["generation"]
            note = f", {skipped} unusable skipped" if skipped else ""
            print(f"{right} of {len(rows)} images right: {accuracy:.1f} % (generation {generation}){note}")
    elif args.json:
        print(json.dumps({"predictions": rows, "skipped": skipped}))
    return 0


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
