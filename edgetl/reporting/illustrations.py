"""Samples to look at: some of each class, those that the head gets wrong, and what a few answers rest on."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.engines import Engine
from edgetl_runtime.errors import SourceError
from edgetl_runtime.heads import Head
from edgetl_runtime.labels import plain_text
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess, Preprocess, TextPreprocess
from numpy.typing import NDArray

from edgetl.building.held_out_answers import Answers, NumberAnswers
from edgetl.html.pictures import jpeg, shown, text_of, traces, words
from edgetl.progress import Progress, Step
from edgetl.reporting.occlusion import Ask, Occlusion, evidence_of, lit, occluded_image, occluded_text, occluded_window

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset

__all__ = ["ClassStrip", "Example", "Look", "class_strips", "failures", "looks", "number_strip"]

logger = logging.getLogger(__name__)

_THUMB = 96
_ROW, _FEW_CLASSES, _MANY_CLASSES, _MOST_CLASSES = 4, 12, 100, 150
_MOST_FAILURES = 24
_LOOKS_WRONG, _LOOKS_RIGHT = 3, 3
_COARSEST, _GRID, _STRETCHES, _MOST_WORDS = 4, 8, 16, 40
_LONGEST_S = 20.0


@dataclass(frozen=True)
class ClassStrip:
    """A class: how many samples of it each part has, and some pictures of its training samples."""

    name: str
    training: int
    held_out: int
    images: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """A held-out sample, as a row of the answers, to be shown; `name` is its file or number."""

    row: int
    name: str
    image: str


@dataclass(frozen=True)
class Look:
    """What one answer rests on. `place` is the class that was said, or the output; `strongest` a channel, or ""."""

    row: int
    place: int
    image: str
    lit: str
    occlusion: Occlusion
    strongest: str = ""


def class_strips(dataset: Dataset, classes: Sequence[str], progress: Progress) -> list[ClassStrip]:
    """A strip for each class, those beyond 150 without pictures."""
    each = 2 * _ROW if len(classes) <= _FEW_CLASSES else _ROW if len(classes) <= _MANY_CLASSES else _ROW // 2
    members: dict[str, list[int]] = {}
    training = dataset.training
    for index, label in zip(training.indices, training.labels, strict=True):
        if index not in training.unreadable:
            members.setdefault(plain_text(str(label)), []).append(index)
    held_out = Counter(
        plain_text(str(label))
        for index, label in zip(dataset.held_out.indices, dataset.held_out.labels, strict=True)
        if index not in dataset.held_out.unreadable
    )
    found = []
    for number, name in enumerate(classes):
        mine = members.get(name, [])
        images = _images(dataset, _spread(mine, each)) if number < _MOST_CLASSES else ()
        found.append(ClassStrip(name, len(mine), held_out[name], images))
        progress(Step("report: samples of each class", number + 1, len(classes)))
    return found


def number_strip(dataset: TargetDataset) -> list[tuple[float, str]]:
    """(first number, picture) of some training samples, from its least to its greatest value."""
    order = np.argsort(dataset.training.targets[:, 0], kind="stable")
    indices = dataset.training.indices
    chosen = [int(place) for place in _spread(order.tolist(), 12)]
    images = [_images(dataset, [indices[place]]) for place in chosen]
    values = dataset.training.targets[chosen, 0].tolist()
    return [(value, image[0]) for value, image in zip(values, images, strict=True) if image]


def failures(dataset: Dataset | TargetDataset, answers: Answers | NumberAnswers) -> list[Example]:
    """Errors, the most confident first; of numbers, the largest in terms of the spread of all errors."""
    if isinstance(answers, Answers):
        wrong = np.flatnonzero(~answers.right)
        order = wrong[np.argsort(-answers.probability[wrong], kind="stable")]
    else:
        order = np.argsort(-_worst(answers).max(axis=1), kind="stable")
    found = []
    for row in order[:_MOST_FAILURES].tolist():
        index = answers.indices[row] if answers.indices else -1
        image = _images(dataset, [index], 150) if index >= 0 else ()
        found.append(Example(row, _name(dataset, index), image[0] if image else ""))
    return found


def looks(
    dataset: Dataset | TargetDataset,
    answers: Answers | NumberAnswers,
    engine: Engine,
    head: Head,
    preprocess: Preprocess,
    classes: Sequence[str],
    progress: Progress,
) -> list[Look]:
    """Three of the errors and three right answers; coarser where the network is slow. [] for other samples than
    pictures, windows and texts."""
    windows = isinstance(preprocess, ArrayPreprocess) and len(preprocess.shape) == 2
    if not answers.indices or not (windows or isinstance(preprocess, ImagePreprocess | TextPreprocess)):
        return []
    order = [str(label) for label in head.classes]
    numbers = isinstance(answers, NumberAnswers)
    chosen = _worth_a_look(answers)
    found: list[Look] = []
    for number, row in enumerate(chosen):
        place = int(np.argmax(_worst(answers)[row])) if isinstance(answers, NumberAnswers) else int(answers.said[row])
        ask = evidence_of(engine, head, place if numbers else order.index(classes[place]))
        try:
            sample = dataset.reader.read(answers.indices[row])
        except SourceError as error:
            logger.warning("not shown in the report: %s", error)
            continue
        found.append(Look(row, place, *_looked_at(sample, preprocess, ask, numbers, _LONGEST_S / len(chosen))))
        progress(Step("report: what the answers rest on", number + 1, len(chosen)))
    return found


def _looked_at(
    sample: Any, preprocess: Preprocess, ask: Ask, both_ways: bool, longest_s: float
) -> tuple[str, str, Occlusion, str]:
    """What of a `Look` follows from the sample itself: it, what is lit of it, the occlusion, the strongest channel."""
    if isinstance(preprocess, TextPreprocess):
        said = text_of(sample).split()[:_MOST_WORDS]
        occlusion = occluded_text(said, lambda some: ask(preprocess.apply(" ".join(some))), both_ways)
        return "", words(said, occlusion.shares.tolist()), occlusion, ""
    tensor = preprocess.apply(sample)
    if isinstance(preprocess, ArrayPreprocess):
        occlusion = occluded_window(tensor, ask, _STRETCHES, both_ways)
        drawn = traces(tensor[0]), traces(tensor[0], occlusion.shares.tolist())
        return *drawn, occlusion, _channel(occlusion, preprocess)
    started = time.perf_counter()
    ask(tensor)
    once = time.perf_counter() - started
    grid = int(np.clip(np.sqrt(longest_s / max(once, 1e-6)), _COARSEST, _GRID))
    occlusion = occluded_image(tensor, ask, grid, both_ways)
    seen = _picture(tensor, preprocess)
    return jpeg(seen, 180), jpeg(lit(seen, occlusion), 180), occlusion, ""


def _worth_a_look(answers: Answers | NumberAnswers) -> list[int]:
    if isinstance(answers, NumberAnswers):
        order = np.argsort(_worst(answers).max(axis=1), kind="stable")
        return [*order[::-1][:_LOOKS_WRONG].tolist(), *_spread(order[: len(order) // 2].tolist(), _LOOKS_RIGHT)]
    wrong = np.flatnonzero(~answers.right)
    wrong = wrong[np.argsort(-answers.probability[wrong], kind="stable")]
    right = np.flatnonzero(answers.right)
    # Of different classes, where there are some.
    first = [int(right[answers.truth[right] == code][0]) for code in np.unique(answers.truth[right])]
    rest = [row for row in right.tolist() if row not in first]
    return [*wrong[:_LOOKS_WRONG].tolist(), *_spread(first or rest, _LOOKS_RIGHT)]


def _worst(answers: NumberAnswers) -> NDArray[np.float64]:
    """Errors (N, Q) in terms of the root mean square of each number."""
    errors = np.abs(answers.said - answers.truth)
    result: NDArray[np.float64] = errors / np.maximum(np.sqrt(np.mean(errors**2, axis=0)), 1e-12)
    return result


def _picture(tensor: NDArray[Any], preprocess: Preprocess) -> NDArray[Any]:
    """What the network is given, in RGB or grey."""
    pixels: NDArray[Any] = tensor[0]
    return pixels[:, :, ::-1] if getattr(preprocess, "channels", "") == "BGR" else pixels


def _channel(occlusion: Occlusion, preprocess: Preprocess) -> str:
    if not occlusion.channels:
        return ""
    place = int(np.argmax(occlusion.channels))
    window = getattr(preprocess, "window", None)
    names = window.channels if window is not None else ()
    return str(names[place]) if names else f"channel {place + 1}"


def _images(dataset: Dataset | TargetDataset, indices: Sequence[int], side: int = _THUMB) -> tuple[str, ...]:
    found = []
    for index in indices:
        try:
            found.append(shown(dataset.reader.read(index), side))
        except SourceError as error:
            logger.warning("not shown in the report: %s", error)
    return tuple(image for image in found if image)


def _name(dataset: Dataset | TargetDataset, index: int) -> str:
    name = getattr(dataset.reader, "name", None)
    if index < 0:
        return ""
    end = Path(str(name(index))).name if callable(name) else ""
    if not end or end.isdigit():
        return f"sample {end or index}"
    return end if len(end) <= 26 else f"...{end[-23:]}"


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly over all of them."""
    if len(items) <= most:
        return list(items)
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, most).round()]
