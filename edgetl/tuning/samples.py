"""A part of a dataset as the tensors that the network trains on: read and preprocessed once, then only indexed."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.errors import SampleError, SourceError
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset
from edgetl.data.tasks import Task, TaskDataset
from edgetl.errors import DatasetError
from edgetl.progress import Progress, Step

if TYPE_CHECKING:
    from edgetl_runtime.preprocess import Preprocess

    from edgetl.data import TargetDataset

__all__ = ["MEMORY_BYTES", "Samples", "read_samples", "split_off"]

logger = logging.getLogger(__name__)

MEMORY_BYTES = 2**31
_AHEAD = 64


@dataclass(frozen=True, eq=False)
class Samples:
    """N tensors (N, *shape) as preprocessing gives them, uint8 or float32, and what they show.

    `truth` is (N,) int64 positions in `classes`, or (N, Q) float64 numbers where `classes` is empty; of several `tasks`
    it is (N, T) float64, NaN where a label is missing. `digest` names the samples, what they show and their order.
    """

    tensors: NDArray[Any]
    truth: NDArray[Any]
    classes: tuple[Any, ...]
    digest: str
    tasks: tuple[Task, ...] = ()

    def __len__(self) -> int:
        return len(self.tensors)


def read_samples(
    preprocess: Preprocess,
    part: Dataset | TargetDataset | TaskDataset,
    classes: tuple[Any, ...],
    progress: Progress,
    stage: str,
) -> Samples:
    """Every usable sample of `part`, decoded by as many threads as there are processors.

    More than 2 GiB lie in a temporary file that the system pages in. Samples that cannot be read, or that
    preprocessing refuses, are logged and left out. Raises DatasetError when none is left.
    """
    shape, dtype = preprocess.input.shape[1:], np.dtype(preprocess.input.dtype)
    tensors = _room((len(part), *shape), dtype)
    position = {label: code for code, label in enumerate(classes)}
    truth: list[Any] = []
    tasks: tuple[Task, ...] = getattr(part, "tasks", ())
    digest = hashlib.sha256(repr((preprocess, tasks or classes)).encode())
    rows: Any = part.truth if isinstance(part, TaskDataset) else getattr(part, "targets", None)
    for number, (place, tensor) in enumerate(_decoded(preprocess, part), 1):
        if isinstance(tensor, str):
            logger.warning("skipped: %s", tensor)
        else:
            shown = position[part.labels[place]] if isinstance(part, Dataset) else rows[place]
            tensors[len(truth)] = tensor[0]
            digest.update(tensors[len(truth)].tobytes())
            truth.append(shown)
        progress(Step(stage, number, len(part)))
    if not truth:
        raise DatasetError(f"{part.name} has no sample that can be read")
    shown_array = np.array(truth, np.int64 if classes else np.float64)
    digest.update(shown_array.tobytes())
    return Samples(tensors[: len(truth)], shown_array, classes, digest.hexdigest(), tasks)


def split_off(part: Any, share: float, least: int) -> tuple[Any, Any]:
    """(the rest, that share) of a part of a dataset, split as the dataset splits itself; the second is None where a
    class has fewer than `least` samples, or numbers have."""
    counts = part.counts.values() if hasattr(part, "counts") else [len(part)]
    if share == 0.0 or min(counts) < least:
        return part, None
    whole = replace(part, holdout=share)
    return (whole.training, whole.held_out) if len(whole.held_out) else (part, None)


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if int(np.prod(shape, dtype=np.int64)) * dtype.itemsize <= MEMORY_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="edgetl-samples-") as file:  # unnamed: gone when the last array is
        return np.memmap(file, dtype, "w+", shape=shape)


def _decoded(preprocess: Preprocess, part: Dataset | TargetDataset | TaskDataset) -> Iterator[tuple[int, Any]]:
    """(place in the part, tensor or why there is none), in order, a bounded number ahead."""

    def one(place: int) -> Any:
        try:
            return preprocess.apply(part.reader.read(part.indices[place]))
        except (SourceError, SampleError) as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(part), _AHEAD):
            places = range(start, min(start + _AHEAD, len(part)))
            yield from zip(places, pool.map(one, places), strict=True)
