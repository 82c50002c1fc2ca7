"""One pass of a dataset through the deployed graph: what the head is fitted on is what a device will see."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.engines import Engine
from edgetl_runtime.errors import SampleError
from edgetl_runtime.labels import parsed_targets, plain_text
from edgetl_runtime.preprocess import ImagePreprocess, Preprocess
from numpy.typing import NDArray
from PIL import Image

from edgetl.errors import ParityError
from edgetl.progress import Progress, Step

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset

__all__ = ["KEPT_SAMPLES", "ExtractedPart", "extract", "run_engine", "spread"]

logger = logging.getLogger(__name__)

KEPT_SAMPLES = 64
KEPT_SIDE = 320


@dataclass(frozen=True)
class ExtractedPart:
    """Features (N, D) and labels (N) of one part of a dataset; `rejected` samples did not go through.

    Some samples, spread over the part, are kept for checks: at most 64 as `frames`, raw, and those of `rows` as
    `tensors`, what the graph was given.
    Where samples have numbers, their labels are the texts of these, as a device stores them. `indices` (N) name the
    samples to the reader of the dataset; [] where that is not known.
    """

    features: NDArray[np.float32]
    labels: list[str]
    tensors: list[NDArray[Any]]
    frames: list[NDArray[Any]]
    rejected: int
    rows: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)

    def targets(self, count: int) -> NDArray[np.float64]:
        """The numbers (N, Q = `count`) that the labels are the texts of; raises LabelError."""
        rows = [parsed_targets(label, count) for label in self.labels]
        return np.array(rows, dtype=np.float64).reshape(len(rows), count)


def extract(
    engine: Engine,
    preprocess: Preprocess,
    part: Dataset | TargetDataset,
    progress: Progress,
    stage: str,
    keep: int = KEPT_SAMPLES,
) -> ExtractedPart:
    """Features of every usable sample; one that preprocessing refuses is logged, counted and left out.

    Labels are in the spelling under which a device keeps them. At most `keep` tensors are kept. Raises LabelError,
    ParityError.
    """
    features, labels = [], []
    tensors: list[NDArray[Any]] = []
    frames: list[NDArray[Any]] = []
    # Spread over the part, so that parity and golden samples are not all of the first class.
    every, every_frame = max(1, len(part) // max(keep, 1)), max(1, len(part) // KEPT_SAMPLES)
    rows: list[int] = []
    places: list[int] = []
    rejected, read, numbers = 0, 0, hasattr(part, "outputs")
    for number, (sample, label) in enumerate(part):
        read += 1
        try:
            tensor = preprocess.apply(sample)
        except SampleError as error:
            rejected += 1
            logger.warning("skipped a sample of %s: %s", label, error)
            continue
        features.append(run_engine(engine, tensor))
        labels.append(str(label) if numbers else plain_text(str(label)))
        places.append(number)
        row = len(features) - 1
        if row % every == 0 and len(tensors) < keep:
            tensors.append(tensor)
            rows.append(row)
        if row % every_frame == 0 and len(frames) < KEPT_SAMPLES:
            frames.append(_kept(sample, preprocess))
        progress(Step(stage, number + 1, len(part)))
    stacked = np.stack(features) if features else np.zeros((0, engine.outputs[0].shape[1]), np.float32)
    if not np.isfinite(stacked).all():
        bad = int((~np.isfinite(stacked)).any(axis=1).sum())
        raise ParityError(f"the extractor gives NaN or infinite features for {bad} of {len(stacked)} samples")
    readable = [index for index in part.indices if index not in part.unreadable]
    indices = [readable[place] for place in places] if len(readable) == read else []
    return ExtractedPart(stacked, labels, tensors, frames, rejected, rows, indices)


def spread(items: Sequence[Any], most: int = KEPT_SAMPLES) -> list[Any]:
    """At most `most` of the items, evenly over all of them."""
    return list(items[:: max(1, len(items) // most)])[:most]


def run_engine(engine: Engine, tensor: NDArray[Any]) -> NDArray[np.float32]:
    """Feature vector (D,) float32 of one input tensor."""
    outputs = engine.run({engine.inputs[0].name: tensor})
    return np.asarray(outputs[engine.outputs[0].name][0], dtype=np.float32)


def _kept(sample: NDArray[Any], preprocess: Preprocess) -> NDArray[Any]:
    """The sample as it came, or, a large picture, scaled down: a golden sample is any real input, not that photo."""
    if not isinstance(preprocess, ImagePreprocess) or max(sample.shape[:2]) <= KEPT_SIDE:
        return np.array(sample)
    image = Image.fromarray(sample[:, :, 0] if sample.shape[2:] == (1,) else sample)
    image.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return np.array(image)
