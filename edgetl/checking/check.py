"""The check of a dataset before anything is built from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.preprocess import ImagePreprocess

from edgetl.checking.balance import class_counts
from edgetl.checking.device import compare_with_device
from edgetl.checking.duplicates import copies
from edgetl.checking.facts import observe
from edgetl.checking.findings import found
from edgetl.checking.result import CheckResult
from edgetl.checking.sequences import sequences
from edgetl.checking.suspects import LIMIT, suspects
from edgetl.errors import DatasetError
from edgetl.progress import Progress, silent

if TYPE_CHECKING:
    from edgetl.data import Dataset
    from edgetl.features import Extractor

__all__ = ["check_data"]


def check_data(
    dataset: Dataset,
    *,
    others: Mapping[str, Dataset] | None = None,
    extractor: Extractor | None = None,
    device_data: str | Path | None = None,
    limit: float = LIMIT,
    progress: Progress = silent,
) -> CheckResult:
    """What is wrong with N samples: copies, leaks between splits, skew, wrong labels, unreadable files, other light.

    The dataset is judged as it would be used, split into its training and held-out part; `others` are further
    splits by name, such as a test set. Without an `extractor` bytes and pixels alone are looked at, which is quick;
    with one also features: labels whose leave-one-out posterior is below `limit`, and copies that pixels do not show.
    `device_data` is a folder of images or a source's address (`edgetl_runtime.sources`): what the device sees.

    Nothing is changed. Open the dataset with `verify=False`, so that unreadable files are named. Raises DatasetError,
    SourceError, ExportError.
    """
    started = time.perf_counter()
    others = others or {}
    if taken := {*others} & {"training", "held out"}:
        raise DatasetError(f"{', '.join(taken)} is the name of a part of the dataset; name the other split otherwise")
    facts = observe(dataset, others, extractor, progress)
    if not len(facts):
        raise DatasetError(f"none of the {len(dataset)} samples of {dataset.name} can be read")
    groups = copies(facts)
    runs = sequences(facts)
    doubtful, judged = suspects(facts, groups, progress, limit)
    device = None if device_data is None else compare_with_device(facts, device_data, extractor, progress)
    counts = class_counts(facts)
    side = _input_side(extractor)
    small = int((facts.sizes[facts.pictures].min(axis=1) < side).sum()) if side and facts.pictures.any() else 0
    sizes = {name: int((facts.splits == i).sum()) for i, name in enumerate(facts.split_names)}
    result = CheckResult(
        name=dataset.name, samples=len(facts), splits=sizes, findings=(), classes=tuple(counts),
        unreadable=facts.unreadable + facts.rejected, copies=tuple(groups), sequences=tuple(runs),
        suspects=tuple(doubtful), judged=judged, small=small, input_side=side, device=device,
        seconds=time.perf_counter() - started, facts=facts,
    )  # fmt: skip
    return found(result, limit)


def _input_side(extractor: Extractor | None) -> int | None:
    """Shorter side that a picture needs in order not to be enlarged."""
    if extractor is None or not isinstance(extractor.preprocess, ImagePreprocess):
        return None
    return int(min(extractor.preprocess.input.shape[1:3]))


