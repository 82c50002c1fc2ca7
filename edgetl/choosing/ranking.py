"""`edgetl.choose`: which backbone transfers best to this data, and what it costs, before any training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import EdgetlError

from edgetl.choosing.drawing import drawn
from edgetl.choosing.footprint import ENGINE, peak_bytes
from edgetl.choosing.precisions import Variant, asked_precisions, variants_of
from edgetl.choosing.scores import h_score, leave_one_out, log_evidence
from edgetl.choosing.similarity import source_gap
from edgetl.errors import BackboneError, DatasetError, QuantizeError
from edgetl.extraction import run_engine
from edgetl.profiles import load_profile
from edgetl.progress import Progress, Step, silent
from edgetl.quantize.recipes import FP32
from edgetl.quantize.speed import latencies_ms
from edgetl.tuning.cache import FeatureCache
from edgetl.tuning.samples import Samples, read_samples

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["Candidate", "Ranking", "choose"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One backbone in one precision. `error` says why it has no figures, or is empty.

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
    precision: str = FP32.name


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

    @property
    def titles(self) -> tuple[str, ...]:
        """What each is called beside the others: precision where there are several, weights where they differ."""
        kinds = {one.precision for one in self.candidates}
        named = [f" {one.precision}" if len(kinds) > 1 else "" for one in self.candidates]
        plain = [one.name.partition("=")[0] + kind for one, kind in zip(self.candidates, named, strict=True)]
        full = [one.name + kind for one, kind in zip(self.candidates, named, strict=True)]
        return tuple(short if plain.count(short) == 1 else long for short, long in zip(plain, full, strict=True))


def choose(
    dataset: Dataset | TargetDataset | str | Path,
    backbones: Sequence[str | Extractor],
    *,
    most: int = 500,
    devices: Sequence[str] = (),
    precisions: Sequence[str] = (FP32.name,),
    cache: str | Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Ranking:
    """Rank backbones on at most `most` samples of the training part, drawn class by class.

    A backbone is an extractor, or a name for `edgetl.extractor` with "=WEIGHTS" behind it for its weights (a file or
    DEFAULT) and "@SIZE" for another input size: "torchvision/mobilenet_v2@160=weights.safetensors"; or a graph with the
    name of its feature tensor, where it has several outputs: "onnx:net.onnx#features". Every one is
    exported, and judged by the features of the graph that a device would run. One that cannot be built or exported
    keeps its place in the ranking with its error.

    Each of `precisions` ("fp32", "fp16", "int8", "s8s8", "u8s8") is a candidate of its own; int8 is the recipe that the
    profiles of `devices` want, else the one that is fast here. Every layer is quantized: `build` may keep some in
    float32. `cache` is a folder that keeps features by graph and samples, so that a choice that was interrupted goes on
    where it was. Raises DatasetError, ProfileError, QuantizeError.
    """
    from edgetl.data import dataset as open_dataset
    from edgetl.export import export_onnx

    if not backbones:
        raise BackboneError("name at least one backbone to choose from, such as torchvision/mobilenet_v2=DEFAULT")
    whole = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    part = drawn(whole.training, most, seed)
    profiles = tuple(map(load_profile, devices))
    budgets = {profile.id: profile.memory_bytes.value for profile in profiles}
    wanted, store = asked_precisions(precisions, profiles), FeatureCache(cache)
    classes: tuple[Any, ...] = getattr(part, "classes", ())
    candidates: list[Candidate] = []
    engines: dict[int, Any] = {}
    inputs: dict[int, Any] = {}
    judged = 0
    for backbone in backbones:
        name = _short(backbone) if isinstance(backbone, str) else backbone.name
        try:
            opened = _opened(backbone, whole) if isinstance(backbone, str) else backbone
            samples = read_samples(opened.preprocess, part, classes, progress, f"{name}: reading samples")
            variants = variants_of(export_onnx(opened), samples, wanted, progress, name)
            gap = source_gap(opened, samples.tensors)
        except (EdgetlError, ValueError) as error:
            logger.warning("%s: %s", name, error)
            candidates += [Candidate(name, error=str(error), precision=one) for one in wanted]
            continue
        for variant in variants:
            try:
                if variant.error:
                    raise QuantizeError(variant.error)
                engine = open_engine(ENGINE, variant.graph, threads=1)
                candidate = _judged(name, opened, variant, engine, samples, store, progress)
                memory = peak_bytes(variant.graph)
            except (EdgetlError, ValueError) as error:
                logger.warning("%s in %s: %s", name, variant.precision, error)
                candidates.append(Candidate(name, error=str(error), precision=variant.precision))
                continue
            number = len(candidates)
            engines[number], inputs[number], judged = engine, samples.tensors[:1].copy(), len(samples)
            fits = tuple((device, memory <= budget) for device, budget in budgets.items())
            size = len(variant.graph)
            candidates.append(replace(candidate, gap=gap, graph_bytes=size, peak_bytes=memory, fits=fits))
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


def _judged(
    name: str, extractor: Extractor, variant: Variant, engine: Any, samples: Samples, store: FeatureCache,
    progress: Progress,
) -> Candidate:  # fmt: skip
    key = f"{hashlib.sha256(variant.graph).hexdigest()} {samples.digest}"
    features = store.kept(key, (len(samples), extractor.dim))
    if features is None:
        features = np.empty((len(samples), extractor.dim), np.float32)
        stage = f"{name}: features in {variant.precision}"
        for place in range(len(samples)):
            features[place] = run_engine(engine, samples.tensors[place : place + 1])
            progress(Step(stage, place + 1, len(samples)))
        store.keep(key, features)
    if not np.isfinite(features).all():
        raise BackboneError(f"{name} gives NaN or infinite features for this data")
    return Candidate(
        name, extractor.dim, tuple(extractor.preprocess.input.shape[1:]), leave_one_out(features, samples.truth),
        h_score(features, samples.truth) if samples.classes else None, log_evidence(features, samples.truth),
        precision=variant.precision,
    )  # fmt: skip


def _opened(text: str, whole: Dataset | TargetDataset) -> Extractor:
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
    windows: Any = whole if getattr(whole, "window", None) is not None else None
    resize = round(pixels * 8 / 7) if pixels else None
    return extractor(name, weights=weights or None, size=pixels, resize=resize, data=windows)


def _short(text: str) -> str:
    """The name without the folders of its file."""
    name, mark, path = text.partition(":" if text.startswith("onnx:") else "=")
    return f"{name}{mark}{Path(path).name}"
