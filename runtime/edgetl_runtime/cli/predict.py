"""`edgetl-runtime predict`."""

from __future__ import annotations

import argparse
import json
import logging
from typing import Any, Dict, List

from edgetl_runtime.cli.images import folder_label, labelled_paths, read_or_skip
from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.errors import SampleError, SourceError

__all__ = ["EXAMPLE", "add_arguments", "run"]

logger = logging.getLogger(__name__)

EXAMPLE = "edgetl-runtime predict photo.jpg --state state/\n  edgetl-runtime predict shop/test --check --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--check", action="store_true", help="take folder names as the truth and print the accuracy")


def run(args: argparse.Namespace) -> int:
    """Print one line an image, or the accuracy against the folder names."""
    rows: List[Dict[str, Any]] = []
    skipped = 0
    with open_state(args, read_only=True) as session:
        for path, root in labelled_paths(args.images):
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
                "label": prediction.label,
                "probability": max(prediction.probabilities.values()),
                "outlier": prediction.outlier,
                "generation": prediction.generation,
                "latency_ms": prediction.latency_ms,
            }
            if args.check:
                row["truth"] = folder_label(path, root)
            rows.append(row)
            if not args.json and not args.check:
                print(f"{path}\t{prediction.label}\t{row['probability']:.3f}\toutlier {prediction.outlier:.1f}")
    if not rows:
        raise SourceError(f"none of the {skipped} files can be used as an image")
    if args.check:
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
