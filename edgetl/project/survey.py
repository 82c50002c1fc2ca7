"""What lies in a folder, as a project would use it: kind, counts, and what should be held out together."""

from __future__ import annotations

import csv
import logging
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.framing.schema import STAMP_UNITS
from edgetl_runtime.sources.csv_feed import column_of
from edgetl_runtime.sources.images import image_paths

from edgetl.data.recordings import RECORDING_SUFFIXES, read_recordings
from edgetl.data.splits import SplitRule, keys_of_names

__all__ = ["Survey", "survey"]

logger = logging.getLogger(__name__)

_TIMES = ("t", "time", "stamp", "timestamp")
_GROUPS = ("group", "drive", "run", "session", "person", "subject", "recording", "sequence", "site", "domain")
_PARTS = {"training": ("train", "training"), "others": ("val", "valid", "validation", "test")}
_MOST_ROWS = 100_000
_BRIDGED = 2.5  # periods of the model's rate that may pass without a sample (WindowSpec)
_MOST_FILES = 4000


@dataclass(frozen=True)
class Survey:
    """One dataset that was found. `kind` is "images", "numbers", "windows" or "" where nothing was.

    `seen` says it in words, `split` is what should be held out together and `why`. `others` are further splits by
    name, `targets` columns of numbers, `window` the facts of a time series by key of the section [window].
    """

    path: Path | None = None
    kind: str = ""
    seen: str = ""
    split: str = "random"
    why: str = "samples that have nothing to do with each other"
    others: Mapping[str, Path] = field(default_factory=dict)
    targets: Sequence[str] = ()
    window: Mapping[str, object] = field(default_factory=dict)


def survey(folder: str | Path) -> Survey:
    """The first dataset in `folder`, itself or one level below: images, a CSV, recordings. Nothing is decoded."""
    root = Path(folder)
    places = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]
    for place in places:
        for path in sorted(place.glob("*.csv")):
            if (found := _table(path)) is not None:
                return found
        # The folder of the project itself is data only where its folders are the classes.
        if place != root and (found := _folder(place)) is not None:
            return found
    return _folder(root) or Survey()


def _folder(root: Path) -> Survey | None:
    parts = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()} if root.is_dir() else {}
    training = next((parts[name] for name in _PARTS["training"] if name in parts), None)
    others = {name: parts[name] for name in _PARTS["others"] if name in parts and training is not None}
    whole = training or root
    pictures = list(islice((path for path in image_paths(whole) if path.parent != whole), _MOST_FILES))
    labels = Counter(path.parent.relative_to(whole).as_posix() for path in pictures)
    if len(labels) > 1:
        more = " or more" if len(pictures) == _MOST_FILES else ""
        seen = f"a folder a class: {len(pictures)}{more} images of {len(labels)} classes, {_span(labels)} each"
        split, why = _sequences([str(path.relative_to(whole)) for path in pictures], labels)
        return Survey(whole, "images", seen, split, why, others)
    files = [path for path in sorted(whole.rglob("*")) if path.suffix.lower() in RECORDING_SUFFIXES][:_MOST_FILES]
    labels = Counter(path.parent.relative_to(whole).as_posix() for path in files if path.parent != whole)
    if len(labels) < 2:
        return None
    window: dict[str, object] = {}
    try:
        first = read_recordings(files[0])[0]
        rate = first.rate_hz or _rate(first.stamps_s.tolist())
        window = {"length": max(2, round(rate)), "rate_hz": rate} if rate else {}
    except EdgetlError as error:
        logger.warning("%s: %s", files[0], error)
    seen = f"a folder a class: {len(files)} recordings of {len(labels)} classes, {_span(labels)} each"
    return Survey(whole, "windows", seen, "random", "whole recordings are held out", others, window=window)


def _table(path: Path) -> Survey | None:
    """A CSV of images with labels or with numbers, or of the values of a sensor; None where it is neither."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [column_of(cell) for cell in next(reader, [])]
            rows = [cells for cells in islice(reader, _MOST_ROWS) if len(cells) >= len(header)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        logger.warning("%s: %s", path, error)
        return None
    names = [name.lower() for name, _ in header]
    if not rows or len(names) < 2:
        return None
    together = next((name for name in names if name in _GROUPS), None)
    split = ("random", "samples that have nothing to do with each other")
    if together is not None:
        count = len({cells[names.index(together)] for cells in rows})
        split = (f"group:{together}", f"{count} of the column {together}: what hangs together stays together")
    if "path" in names and "label" in names:
        labels = Counter(cells[names.index("label")] for cells in rows)
        seen = f"a CSV: {len(rows)} images of {len(labels)} classes, {_span(labels)} each"
        if together is None:
            split = _sequences([cells[names.index("path")] for cells in rows], labels)
        return Survey(path, "images", seen, *split)
    if "path" in names:
        targets = [name for place, (name, _) in enumerate(header) if name.lower() != "path" and _numbers(rows, place)]
        seen = f"a CSV: {len(rows)} images with the numbers {', '.join(targets)}"
        return Survey(path, "numbers", seen, "time", "the last rows are held out", targets=targets) if targets else None
    clock = next((name for name in names if name in _TIMES), None)
    if clock is None or "label" not in names:
        return None
    scale = STAMP_UNITS.get(header[names.index(clock)][1] or "s", 1.0)
    rate = _rate([float(cells[names.index(clock)]) * scale for cells in rows[:2000]]) if _numbers(rows, 0) else 0.0
    labels = Counter(cells[names.index("label")] for cells in rows)
    values = [(name, unit) for name, unit in header if name.lower() not in {clock, "label", "group"}]
    channels = [f"{name} [{unit}]" if unit else name for name, unit in values]
    seen = f"a CSV of a sensor: {len(rows)} rows of {', '.join(channels)}; {len(labels)} labels, about {rate:g} Hz"
    window = {"length": max(2, round(rate)), "rate_hz": rate} if rate else {}
    groups = "whole groups are held out" if "group" in names else "parts of each recording are held out"
    return Survey(path, "windows", seen, "random", groups, window=window)


def _sequences(names: Sequence[str], labels: Mapping[str, int]) -> tuple[str, str]:
    """What to hold out together, by the names: many that differ in their last number alone are frames of one drive."""
    keys = Counter(keys_of_names(SplitRule("group"), names))
    # A folder a class with one run of numbers each says nothing: then every class is one group.
    if len(keys) > 2 * len(labels) and statistics.median(keys.values()) >= 4:
        return "group", f"{len(keys)} series of names that differ in their last number alone, as frames of a drive do"
    return "random", "samples that have nothing to do with each other"


def _numbers(rows: Sequence[Sequence[str]], place: int) -> bool:
    try:
        return bool([float(cells[place]) for cells in rows[:100]])
    except ValueError:
        return False


def _rate(stamps_s: Sequence[float]) -> float:
    """Steps a second, to three figures; 0 where the stamps do not say.

    Where pauses would cut more than one window of a second in ten, the rate at which these are bridged.
    """
    steps = sorted(late - early for early, late in pairwise(stamps_s) if late > early)
    if not steps:
        return 0.0
    usual = statistics.median(steps)
    pause = steps[math.ceil(len(steps) * (1.0 - min(0.1 * usual, 0.5))) - 1]
    # A pause of seconds is where something else begins, and no rate bridges it.
    return float(f"{1.0 / min(max(usual, pause / _BRIDGED), 5.0 * usual):.3g}")


def _span(counts: Mapping[str, int]) -> str:
    least, most = min(counts.values()), max(counts.values())
    return str(least) if least == most else f"{least} to {most}"
