"""One pass over all samples: what each looks like, its bytes, and its features where there is an extractor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.types import Label
from numpy.typing import NDArray

from edgetl.checking.signatures import LOOKS, SIDE, is_frame, look_at
from edgetl.extraction import run_engine
from edgetl.progress import Progress, Step

if TYPE_CHECKING:
    from edgetl.data import Dataset
    from edgetl.features import Extractor

__all__ = ["HELD_OUT", "TRAINING", "Facts", "Measure", "Sample", "observe"]

TRAINING, HELD_OUT = "training", "held out"


@dataclass(frozen=True)
class Sample:
    """One sample as the result names it: its row in the facts, file or number, the split it is in, its label."""

    row: int
    name: str
    split: str
    label: Label


@dataclass(frozen=True)
class Facts:
    """N samples that could be read, in the order of the data; some 350 bytes each, and 4 D with features.

    `splits` (N,) are numbers in `split_names`, `digests` (N, 16) of the bytes, `sizes` (N, 2) height and width, zero
    where a sample is no picture; `hashes` (N, 2), `thumbnails` (N, 16, 16) and `figures` (N, 4) as in
    `edgetl.checking.signatures`; `features` (N, D) float32 or None. `unreadable` are names with the reason.
    """

    parts: Sequence[Dataset] = field(repr=False)
    sources: NDArray[np.int32]
    places: NDArray[np.int64]
    labels: tuple[Label, ...]
    splits: NDArray[np.int8]
    split_names: tuple[str, ...]
    digests: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    figures: NDArray[np.float32]
    features: NDArray[np.float32] | None
    unreadable: tuple[tuple[str, str], ...]
    rejected: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pictures(self) -> NDArray[np.bool_]:
        """Which samples (N,) are pictures."""
        result: NDArray[np.bool_] = self.sizes[:, 0] > 0
        return result

    def name(self, row: int) -> str:
        """Where that sample lies."""
        return _name(self.parts[int(self.sources[row])], int(self.places[row]))

    def sample(self, row: int) -> Sample:
        """That sample, for the result."""
        return Sample(int(row), self.name(row), self.split_names[self.splits[row]], self.labels[row])

    def read(self, row: int) -> NDArray[Any]:
        """The sample itself; raises SourceError."""
        sample: NDArray[Any] = self.parts[int(self.sources[row])].reader.read(int(self.places[row]))
        return sample


class Measure:
    """Looks at one sample after the other; close it. With an extractor also their features, from its deployed graph."""

    def __init__(self, extractor: Extractor | None) -> None:
        self._preprocess = None if extractor is None else extractor.preprocess
        self._engine = None
        if extractor is not None:
            from edgetl.export import export_onnx

            self._engine = open_engine("onnxruntime", export_onnx(extractor))

    def __enter__(self) -> Measure:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    @property
    def dim(self) -> int:
        """D, 0 without an extractor."""
        return int(self._engine.outputs[0].shape[1]) if self._engine is not None else 0

    def features(self, sample: NDArray[Any]) -> NDArray[np.float32]:
        """Features (D,) of a sample; raises SampleError where preprocessing refuses it, or they are no numbers."""
        if self._engine is None or self._preprocess is None:
            return np.zeros(0, np.float32)
        features = run_engine(self._engine, self._preprocess.apply(sample))
        if not np.isfinite(features).all():
            raise SampleError("the extractor gives NaN or infinite features for it")
        return features


def observe(
    dataset: Dataset, others: Mapping[str, Dataset], extractor: Extractor | None, progress: Progress
) -> Facts:
    """Read every sample of the dataset, which is split into training and held out, and of the other splits by name.

    A sample that cannot be read, or that the preprocessing of the extractor refuses, is named and left out.
    """
    parts = [dataset, *others.values()]
    names = (TRAINING, HELD_OUT, *others)
    held = set(dataset.held_out.indices)
    total = sum(len(part) for part in parts)
    columns = _Columns(total)
    unreadable: list[tuple[str, str]] = []
    rejected: list[tuple[str, str]] = []
    labels: list[Label] = []
    done = 0
    with Measure(extractor) as measure:
        features = np.zeros((total, measure.dim), np.float32) if extractor is not None else None
        for number, part in enumerate(parts):
            for index, label in zip(part.indices, part.labels, strict=True):
                done += 1
                progress(Step("looking at the samples", done, total))
                try:
                    content = part.reader.content(index)
                    sample = part.reader.read(index)
                except SourceError as error:
                    unreadable.append((_name(part, index), str(error)))
                    continue
                row = len(labels)
                if features is not None:
                    try:
                        features[row] = measure.features(sample)
                    except SampleError as error:
                        rejected.append((_name(part, index), str(error)))
                        continue
                split = number + 1 if number else int(index in held)
                columns.put(row, number, index, split, content, sample)
                labels.append(label)
    count = len(labels)
    unreadable += [(f"a file that was left out at opening ({part.name})", why) for part in parts
                   for index, why in part.unreadable.items() if index < 0]  # fmt: skip
    return Facts(
        parts, columns.sources[:count], columns.places[:count], tuple(labels), columns.splits[:count], names,
        columns.digests[:count], columns.sizes[:count], columns.hashes[:count], columns.thumbnails[:count],
        columns.figures[:count], None if features is None else features[:count], tuple(unreadable), tuple(rejected),
    )  # fmt: skip


class _Columns:
    """Room for N samples, filled row by row."""

    def __init__(self, count: int) -> None:
        self.sources, self.places = np.zeros(count, np.int32), np.zeros(count, np.int64)
        self.splits = np.zeros(count, np.int8)
        self.digests, self.sizes = np.zeros((count, 16), np.uint8), np.zeros((count, 2), np.int32)
        self.hashes = np.zeros((count, 2), np.uint64)
        self.thumbnails = np.zeros((count, SIDE, SIDE), np.uint8)
        self.figures = np.zeros((count, len(LOOKS)), np.float32)

    def put(self, row: int, source: int, place: int, split: int, content: bytes, sample: NDArray[Any]) -> None:
        self.sources[row], self.places[row], self.splits[row] = source, place, split
        self.digests[row] = np.frombuffer(hashlib.sha256(content).digest()[:16], np.uint8)
        if is_frame(sample):
            look = look_at(sample)
            self.sizes[row] = sample.shape[:2]
            self.hashes[row], self.thumbnails[row], self.figures[row] = look.hashes, look.thumbnail, look.figures


def _name(part: Dataset, index: int) -> str:
    name = getattr(part.reader, "name", None)
    return str(name(index)) if callable(name) else f"sample {index}"
