"""The samples beside what the device sees: resolution, light, and whether the domain has shifted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.drift import (
    KINDS,
    Reference,
    TestOutcome,
    diagnose,
    independent_gap,
    kolmogorov_smirnov,
    thinned,
)
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.heads import fit_head
from edgetl_runtime.sources import open_source
from edgetl_runtime.sources.images import image_paths, read_image
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

from edgetl.checking.facts import HELD_OUT, TRAINING, Facts, Measure
from edgetl.checking.signatures import LOOKS, is_frame, look_at
from edgetl.errors import DatasetError
from edgetl.progress import Progress, Step

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["DeviceView", "Difference", "compare_with_device"]

_log = logging.getLogger(__name__)

MOST = 1000
_COLUMNS = (*LOOKS, "shorter side")
_LEVEL, _DISTANCE, _LEAST = 0.01, 0.25, 20


@dataclass(frozen=True)
class Difference:
    """One figure of the pictures here and on the device: medians, the Kolmogorov-Smirnov distance of the two, its
    p-value, and whether it is both certain (p below 0.01, corrected) and large (a distance of 0.25 or more)."""

    figure: str
    here: float
    device: float
    distance: float
    p_value: float
    differs: bool


@dataclass(frozen=True)
class DeviceView:
    """The device's `frames` (worth `independent` ones) beside N samples. `shift` is a key of
    `edgetl_runtime.drift.KINDS` by features, "" without an extractor, and `why` what it was read from; `size` and
    `device_size` the commonest (height, width)."""

    name: str
    frames: int
    independent: int
    size: tuple[int, int]
    device_size: tuple[int, int]
    differences: tuple[Difference, ...]
    shift: str = ""
    meaning: str = ""
    why: str = ""


def compare_with_device(
    facts: Facts, address: str | Path, extractor: Extractor | None, progress: Progress, most: int = MOST
) -> DeviceView:
    """The samples beside at most `most` frames, evenly spread, of a folder of images or of any source's address.

    Figures of the pixels by Kolmogorov-Smirnov on frames so far apart that they are as good as independent; features
    by `edgetl_runtime.drift.diagnose` under an SLDA head of the training samples, against the held-out ones, which it
    has not seen. Raises SourceError; DatasetError when no frame comes or the samples are no pictures.
    """
    rows = np.flatnonzero(facts.pictures)
    if not len(rows):
        raise DatasetError("only pictures can be held against the frames of a device; these samples are arrays")
    figures, sizes, features = [], [], []
    with Measure(extractor) as measure:
        for number, frame in enumerate(_frames(str(address), most)):
            progress(Step("looking at the device's frames", number + 1, None))
            if not is_frame(frame):
                raise DatasetError(f"{address} gives {frame.dtype} {frame.shape}; frames are uint8 (H, W, 3)")
            try:
                features.append(measure.features(frame))
            except SampleError as error:
                _log.warning("skipped a frame of %s: %s", address, error)
                continue
            figures.append(np.append(look_at(frame).figures, min(frame.shape[:2])))
            sizes.append(frame.shape[:2])
    if not figures:
        raise DatasetError(f"{address} gives no frame that can be read")
    there = np.array(figures, np.float64)
    here = np.column_stack([facts.figures[rows], facts.sizes[rows].min(axis=1)]).astype(np.float64)
    gap = independent_gap(there[:, : len(LOOKS)]) if len(there) > 1 else 1
    apart = there[thinned(len(there), gap)]
    # Nearly all frames hang together: their order explains any difference, and no test says more.
    certain = len(apart) >= 5
    tests = [kolmogorov_smirnov(here[:, [i]], apart[:, [i]]) for i in range(len(_COLUMNS))]
    differences = tuple(
        _difference(name, here[:, i], there[:, i], tests[i], certain) for i, name in enumerate(_COLUMNS)
    )
    kind, why = _shift(facts, np.array(features, np.float32)) if facts.features is not None else ("", "")
    return DeviceView(
        str(address), len(there), len(apart), _commonest(facts.sizes[rows]), _commonest(np.array(sizes)), differences,
        kind, KINDS.get(kind, ""), why,
    )  # fmt: skip


def _difference(
    name: str, here: NDArray[np.float64], there: NDArray[np.float64], test: TestOutcome, certain: bool
) -> Difference:
    p_value = min(1.0, len(_COLUMNS) * test.p_value)
    # A camera has one resolution, so that its test says nothing: a median a quarter away does.
    ratio = float(np.median(there) / max(np.median(here), 1e-9))
    differs = certain and p_value < _LEVEL and test.statistic >= _DISTANCE
    if name == "shorter side":
        differs = not 0.75 <= ratio <= 1 / 0.75
    return Difference(name, float(np.median(here)), float(np.median(there)), test.statistic, p_value, differs)


def _shift(facts: Facts, frames: NDArray[np.float32]) -> tuple[str, str]:
    """The kind of shift by features, and why; "" where too little is there to judge it by."""
    features = facts.features
    splits = [np.flatnonzero(facts.splits == facts.split_names.index(name)) for name in (TRAINING, HELD_OUT)]
    if features is None or len(splits[1]) < _LEAST:
        return "", f"a shift is judged against {_LEAST} held-out samples or more"
    trained, held = splits
    source = Statistics(features.shape[1], features[trained].mean(axis=0, dtype=np.float64))
    source.add(features[trained], [facts.labels[row] for row in trained])
    head = fit_head("slda", Statistics(source.dim, source.shift), prior=source)
    reference = Reference.of(head, source, features[held], [facts.labels[row] for row in held])
    found = diagnose(reference, reference.see(frames), least=_LEAST)
    # Too few to say anything is not the same as nothing to be said.
    return ("" if found.kind == "none" and found.independent < _LEAST else found.kind), found.why


def _frames(address: str, most: int) -> Iterator[NDArray[Any]]:
    """Frames evenly spread over a folder; of any other source the first that come.

    A folder of pictures is in the order of time by their names, one with folders in it in none: drawn at random.
    """
    folder = Path(address)
    if folder.is_dir() and not (folder / "metadata.yaml").exists():
        paths = image_paths(folder)
        if len({path.parent for path in paths}) > 1:
            paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]
        for path in paths[:: max(1, -(-len(paths) // most))]:
            try:
                yield read_image(path)
            except SourceError as error:
                _log.warning("skipped: %s", error)
        return
    with open_source(address) as source:
        if source.about.kind != "frame":
            raise DatasetError(f"{address} gives no pictures but {', '.join(source.about.channels[:4])}")
        for number, sample in enumerate(source):
            if number >= most:
                return
            yield sample.data


def _commonest(sizes: NDArray[Any]) -> tuple[int, int]:
    values, counts = np.unique(sizes, axis=0, return_counts=True)
    height, width = values[counts.argmax()].tolist()
    return int(height), int(width)
