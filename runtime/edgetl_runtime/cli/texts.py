"""Text arguments of the commands: what stands behind --text, .txt files, folders of them, and CSVs of texts."""

from __future__ import annotations

import argparse
import csv
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from edgetl_runtime.cli.images import folder_label
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.preprocess import ArrayPreprocess, TextPreprocess
from edgetl_runtime.session import Session
from edgetl_runtime.text import MAX_TEXT_BYTES, checked_text

__all__ = ["NamedText", "add_samples", "asked_texts"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NamedText:
    """One text, the words by which it is told, and the label that its folder or row gives it."""

    name: str
    text: str
    label: Optional[str] = None


def add_samples(parser: argparse.ArgumentParser, files: str) -> None:
    """What a command is about: `files` (their help), or texts; one of them must be said."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("images", nargs="*", default=[], metavar="IMAGE", help=files)
    group.add_argument(
        "--text", action="append", default=[], metavar="TEXT",
        help="for a bundle of text: a text itself; may be repeated. Files are then .txt, one text each, folders of"
        " them with a folder a class, or a CSV with the columns text and label",
    )  # fmt: skip


def asked_texts(session: Session, texts: Sequence[str], files: Sequence[str], labelled: bool) -> List[NamedText]:
    """The texts that a command is about; none where the bundle takes no text. `labelled`: files must say a label.

    Raises SourceError where there is nothing, or text for a bundle of something else; and for windows of a sensor,
    which come from a source only.
    """
    if isinstance(session.takes, ArrayPreprocess) and session.takes.window is not None:
        raise SourceError(
            "this bundle takes windows of a sensor, not files: edgetl-runtime run ADDRESS predicts what a sensor or a"
            " recording (.mcap, .npz, ...) gives, and learns with --labels or --teach"
        )
    if not isinstance(session.takes, TextPreprocess):
        if texts:
            raise SourceError("--text is for bundles that take text; this one takes something else: name files")
        return []
    found = [NamedText(text, text) for text in texts]
    for argument in files:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*.txt") if not one.name.startswith("."))
            found += _readable((one, folder_label(one, path) if labelled else None) for one in inside)
        elif path.suffix.lower() == ".csv" and path.is_file():
            found += _rows(path, labelled)
        elif path.suffix.lower() == ".txt" and path.is_file():
            found += _readable([(path, None)])
        else:
            raise SourceError(f"{path} is no .txt file, folder of such, or CSV; this bundle takes text (or say --text)")
    if not found:
        raise SourceError("there is no text: say --text TEXT, or name .txt files, folders of them, or a CSV")
    return found


def _readable(paths: Iterable[Tuple[Path, Optional[str]]]) -> List[NamedText]:
    found = []
    for path, label in paths:
        try:
            with path.open("rb") as file:
                text = file.read(MAX_TEXT_BYTES + 1).decode("utf-8-sig")
            found.append(NamedText(str(path), checked_text(text), label))
        except (OSError, UnicodeDecodeError, SampleError) as error:
            logger.warning("skipped: %s: %s", path, error)
    return found


def _rows(path: Path, labelled: bool) -> List[NamedText]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            if not {"text", *(["label"] if labelled else [])} <= set(columns):
                wanted = "text and label" if labelled else "text"
                raise SourceError(f"{path} needs the columns {wanted} in its first line, not {columns}")
            return [_row(f"{path}:{reader.line_num}", row, labelled) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read as a CSV in UTF-8: {error}") from error


def _row(name: str, row: Dict[str, Any], labelled: bool) -> NamedText:
    if not labelled:
        return NamedText(name, row["text"] or "")
    if not row["label"]:
        raise SourceError(f"{name}: there is no label in this line")
    return NamedText(name, row["text"] or "", plain_text(row["label"]))
