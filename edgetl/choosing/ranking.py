"""`edgetl.choose`: which backbone transfers best to this data, and what it costs, before any training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import EdgetlError

from edgetl.choosing.footprint import ENGINE, peak_bytes
from edgetl.choosing.scores import h_score, leave_one_out, log_evidence
from edgetl.choosing.similarity import source_gap
from edgetl.errors import BackboneError, DatasetError
from edgetl.extraction import run_engine
from edgetl.profiles import load_profile
from edgetl.progress import Progress, Step, silent
from edgetl.quantize.speed import latencies_ms
from edgetl.tuning.samples import Samples, read_samples

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["Candidate", "Ranking", "choose"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One backbone. `error` says why it has no figures, or is empty.

    `loo` is the share right (0..1) of ridge with each sample left out, or R2 of numbers; `h_score` is None for numbers.
    `gap` is how far the data is from what it was trained on (`edgetl.choosing.similarity`), None where it cannot tell.
    `latency_ms` is the median of one sample on one thread of this machine in onnxruntime, `peak_bytes` the most memory
    of a process that runs it, `graph_bytes` the size of the graph. `fits` says of each board that was asked for whether
    that memory is within the budget of its profile; how fast it is there nobody has measured.
    """

    name: str
    dim: int = 0
    size: tuple[int, ...] = ()
    loo: float = float("nan")
    h_score: float | None = None
    log_evidence: float = float("nan")
    gap: float | None = None
    latency_ms: float = float("nan")
    graph_bytes: int = 0
    peak_bytes: int = 0
    fits: tuple[tuple[str, bool], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Ranking:
    """Candidates, the best by `loo` first, those with an error last; `samples` of `dataset` judged them."""

    dataset: str
    samples: int
    numbers: bool
    candidates: tuple[Candidate, ...]

    def __getitem__(self, place: int) -> Candidate:
        return self.candidates[place]

    def __len__(self) -> int:
        return len(self.candidates)


def choose(
    dataset: Dataset | TargetDataset | str | Path,
    backbones: Sequence[str | Extractor],
    *,
    most: int = 500,
    devices: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> Ranking:
    """Rank backbones on at most `most` samples of the training part, drawn class by class.

    A backbone is an extractor, or a name for `edgetl.extractor` with "=WEIGHTS" behind it for its weights (a file or
    DEFAULT) and "@SIZE" for another input size: "torchvision/mobilenet_v2@160=weights.safetensors"; or a graph with the
    name of its feature tensor, where it has several outputs: "onnx:net.onnx#features". Every one is
    exported, and judged by the features of the graph that a device would run. One that cannot be built or exported
    keeps its place in the ranking with its error. Raises DatasetError, ProfileError.
    """
    from edgetl.data import dataset as open_dataset
    from edgetl.export import export_onnx

    if not backbones:
        raise BackboneError("name at least one backbone to choose from, such as torchvision/mobilenet_v2=DEFAULT")
    whole = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    part = _drawn(whole.training, most, seed)
    budgets = {profile.id: profile.memory_bytes.value for profile in map(load_profile, devices)}
    classes: tuple[Any, ...] = getattr(part, "classes", ())
    candidates: list[Candidate] = []
    engines: dict[int, Any] = {}
    inputs: dict[int, Any] = {}
    judged = 0
    for number, backbone in enumerate(backbones):
        name = _short(backbone) if isinstance(backbone, str) else backbone.name
        try:
            opened = _opened(backbone) if isinstance(backbone, str) else backbone
            samples = read_samples(opened.preprocess, part, classes, progress, f"{name}: reading samples")
            graph = export_onnx(opened)
            engine = open_engine(ENGINE, graph, threads=1)
            candidate = _judged(name, opened, engine, samples, progress)
            memory = peak_bytes(graph)
        except (EdgetlError, ValueError) as error:
            logger.warning("%s: %s", name, error)
            candidates.append(Candidate(name, error=str(error)))
            continue
        engines[number], inputs[number], judged = engine, samples.tensors[:1].copy(), len(samples)
        fits = tuple((device, memory <= budget) for device, budget in budgets.items())
        candidates.append(replace(candidate, graph_bytes=len(graph), peak_bytes=memory, fits=fits))
    for tensor in {value.tobytes(): value for value in inputs.values()}.values():
        # Networks with the same input in turns, so that a busy machine disturbs all of them alike.
        alike = {str(n): engines[n] for n in engines if np.array_equal(inputs[n], tensor)}
        for place, latency in latencies_ms(alike, tensor, rounds=4).items():
            candidates[int(place)] = replace(candidates[int(place)], latency_ms=latency)
    for engine in engines.values():
        engine.close()
    if not engines:
        raise DatasetError(f"no backbone could be judged on {part.name}: {candidates[0].name}: {candidates[0].error}")
    ranked = sorted(candidates, key=lambda one: (bool(one.error), -one.loo if not one.error else 0.0))
    return Ranking(whole.name, judged, not classes, tuple(ranked))


def _judged(name: str, extractor: Extractor, engine: Any, samples: Samples, progress: Progress) -> Candidate:
    features = np.empty((len(samples), extractor.dim), np.float32)
    for place in range(len(samples)):
        features[place] = run_engine(engine, samples.tensors[place : place + 1])
        progress(Step(f"{name}: features", place + 1, len(samples)))
    if not np.isfinite(features).all():
        raise BackboneError(f"{name} gives NaN or infinite features for this data")
    return Candidate(
        name, extractor.dim, tuple(extractor.preprocess.input.shape[1:]), leave_one_out(features, samples.truth),
        h_score(features, samples.truth) if samples.classes else None, log_evidence(features, samples.truth),
        source_gap(extractor, samples.tensors),
    )  # fmt: skip


def _opened(text: str) -> Extractor:
    from edgetl.backbones import extractor

    name, _, weights = text.partition("=")
    if name.startswith("onnx:"):
        path, _, output = text.partition("#")
        return extractor(path, output=output or None)
    name, _, size = name.partition("@")
    if size and not size.isdigit():
        raise BackboneError(f"{text}: the size behind @ is a number of pixels; got {size!r}")
    pixels = int(size) if size else None
    # A smaller input sees the same share of the frame as the declared crop does: 256 for 224.
    return extractor(name, weights=weights or None, size=pixels, resize=round(pixels * 8 / 7) if pixels else None)


def _short(text: str) -> str:
    """The name without the folders of its file."""
    name, mark, path = text.partition(":" if text.startswith("onnx:") else "=")
    return f"{name}{mark}{Path(path).name}"


def _drawn(part: Any, most: int, seed: int) -> Any:
    """At most `most` samples, as many of each class as can be; of numbers, evenly over time."""
    if len(part) <= most:
        return part
    if not hasattr(part, "labels"):
        places = np.linspace(0, len(part) - 1, most).astype(int).tolist()
        return replace(part, targets=part.targets[places], indices=tuple(part.indices[i] for i in places))
    generator = np.random.default_rng([seed, 11])
    labels = np.array([part.classes.index(label) for label in part.labels])
    turn = np.empty(len(labels), np.int64)
    for code in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == code))
        turn[members] = np.arange(len(members))
    places = sorted(np.lexsort((generator.permutation(len(labels)), turn))[:most].tolist())
    return replace(
        part, labels=tuple(part.labels[i] for i in places), indices=tuple(part.indices[i] for i in places)
    )
