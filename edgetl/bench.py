"""A bundle on this host: every variant in every engine that is here, how fast and how right.

Latency, memory and golden samples are measured by the runtime's own code, each way in a fresh process; accuracy by the
factory head of the variant on features that this very engine gives for labelled samples.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.bench import BenchRow, bench_bundle, bench_ways
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.engines import open_engine
from edgetl_runtime.serving import Way

from edgetl.errors import DatasetError
from edgetl.extraction import extract
from edgetl.parity import decisions_agreed
from edgetl.progress import Progress, Step, silent

if TYPE_CHECKING:
    from edgetl.data import Dataset

__all__ = ["BenchResult", "Measured", "bench", "likely_share"]


@dataclass(frozen=True)
class Measured:
    """One way: what its process measured, and what the factory head says of labelled samples.

    `accuracy` is a share (0..1), None without samples or where the way does not run; `agreement` is the share of
    decisions that are those of the first way that ran.
    """

    row: BenchRow
    accuracy: float | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class BenchResult:
    """All ways of one bundle. `samples` labelled samples of classes that the bundle knows were judged."""

    name: str
    bundle_id: str
    ways: tuple[Measured, ...]
    dataset: str | None
    samples: int


def bench(
    path: str | Path,
    dataset: Dataset | str | Path | None = None,
    *,
    engine: str | None = None,
    variant: str | None = None,
    threads: int | None = None,
    runs: int = 200,
    most: int = 500,
    seed: int = 0,
    progress: Progress = silent,
) -> BenchResult:
    """Measure the bundle at `path`, whose signature is not judged here, and its accuracy on at most `most` samples.

    `engine` and `variant` leave one of each. Samples of classes that the bundle has not are left out. Raises
    BundleError, DatasetError, EngineError, SourceError.
    """
    from edgetl.data import dataset as open_dataset

    bundle = read_bundle(path)
    samples = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    part = None if samples is None else _drawn(samples, bundle.manifest.classes, most, seed)
    ways = bench_ways(bundle.manifest, None, engine, variant)
    rows = []
    for number, row in enumerate(bench_bundle(bundle, path, ways, threads=threads, runs=runs), 1):
        rows.append(row)
        progress(Step("latency and memory, each way in a process of its own", number, len(ways)))
    measured = [Measured(row) for row in rows]
    judged = 0
    if part is not None:
        first: list[str] | None = None
        for number, (way, row) in enumerate(zip(ways, rows, strict=True)):
            if row.error:
                continue
            said, truth = _decisions(bundle, way, part, threads, progress)
            first, judged = said if first is None else first, len(truth)
            right = sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)
            measured[number] = Measured(row, right, decisions_agreed(first, said))
    name = None if samples is None else samples.name
    return BenchResult(bundle.manifest.name, bundle.id, tuple(measured), name, judged)


def likely_share(share: float, count: int) -> tuple[float, float]:
    """The interval in which a share of `count` samples lies with 95 % (Wilson, 1927)."""
    z = 1.959964
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _drawn(samples: Dataset, classes: Sequence[str], most: int, seed: int) -> Dataset:
    """At most `most` samples of known classes, the same ones for the same seed."""
    known = [i for i, label in enumerate(samples.labels) if str(label) in classes]
    if not known:
        raise DatasetError(
            f"{samples.name} has no sample of the {len(classes)} classes of the bundle, such as {list(classes[:5])}"
        )
    chosen = sorted(random.Random(seed).sample(known, min(most, len(known))))
    return replace(
        samples,
        labels=tuple(samples.labels[i] for i in chosen),
        indices=tuple(samples.indices[i] for i in chosen),
    )


def _decisions(
    bundle: Bundle, way: Way, part: Dataset, threads: int | None, progress: Progress
) -> tuple[list[str], list[str]]:
    variant = way.variant
    member = HeadMember.unpack(bundle.members[variant.head], variant.head, variant.feature_space, variant.dim)
    engine = open_engine(way.engine, bundle.members[variant.extractor], threads=threads, **way.options)
    try:
        found = extract(engine, bundle.manifest.preprocess, part, progress, f"accuracy of {way}")
    finally:
        engine.close()
    if not found.labels:
        raise DatasetError(f"no sample of {part.name} could be read")
    return [str(label) for label in member.factory.predict(found.features)], found.labels
