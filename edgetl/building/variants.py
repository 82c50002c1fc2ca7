"""The variants of a bundle: what the devices' profiles wish for, quantized, judged, measured, and then shipped or not.

Every variant is a feature space of its own: its statistics and its factory head are fitted on its own features.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from edgetl_runtime.bundle import Variant
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.engines import open_engine
from edgetl_runtime.heads import Head
from edgetl_runtime.preprocess import Preprocess
from edgetl_runtime.types import TensorSpec
from numpy.typing import NDArray

from edgetl.building.device_plans import Verdict, Wish
from edgetl.building.device_verdicts import LEAST_TOLERANCE, judge_wish
from edgetl.building.engine_trials import Entrant, Trials, engines_here
from edgetl.errors import DatasetError
from edgetl.extraction import ExtractedPart, extract, spread
from edgetl.progress import Progress
from edgetl.quantize.candidates import Candidate, JudgedSamples, build_candidates
from edgetl.quantize.fidelity import Judge, Limits
from edgetl.quantize.ladder import FITTED_ON
from edgetl.quantize.recipes import FP16, FP32, Precision
from edgetl.quantize.scoring import NumberScoring

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["Built", "Job", "Variants", "build_variants", "feature_space", "kept_tensors"]

JUDGED_SAMPLES = 2000
JUDGED_BYTES = 400 * 2**20


@dataclass(frozen=True)
class Job:
    """What all variants of one build share.

    `fit_member` makes a head member of a feature space and both parts. `outputs` is Q, the numbers in place of
    classes, or 0. `aware_epochs` of tuning are tried where quantization alone misses.
    """

    source: Extractor
    samples: Dataset | TargetDataset
    fit_member: Callable[[str, ExtractedPart, ExtractedPart], HeadMember]
    outputs: int
    limits: Limits
    threads: int | None
    progress: Progress
    aware_epochs: int = 0


@dataclass(frozen=True)
class Built:
    """A variant, ready for a bundle: its graph, its features of both parts, and its head member.

    `candidate` is None for float32, which is what the others are held against.
    """

    precision: Precision
    graph: bytes
    space: str
    training: ExtractedPart
    held_out: ExtractedPart
    member: HeadMember
    feature_tolerance: float
    candidate: Candidate | None = None

    def variant(self, output: str, preprocess: Preprocess) -> Variant:
        """As the manifest has it."""
        return Variant(
            name=self.precision.name,
            precision=self.precision.kind,
            extractor=self.precision.member,
            head=f"head.{self.precision.name}.safetensors",
            input=preprocess.input,
            features=TensorSpec(output, "float32", (1, self.training.features.shape[1])),
            feature_space=self.space,
            feature_tolerance=self.feature_tolerance,
        )


@dataclass(frozen=True)
class Variants:
    """What came of all wishes: the variants to ship, float32 first; verdicts; candidates; and what was measured."""

    built: tuple[Built, ...]
    verdicts: tuple[Verdict, ...]
    candidates: dict[str, Candidate]
    trials: Trials


def feature_space(graph: bytes, precision: Precision, preprocess: Preprocess) -> str:
    """The identity of an extractor build: its graph, its precision and what is done before it."""
    parts = [hashlib.sha256(graph).hexdigest(), precision.name, json.dumps(preprocess.to_json(), sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kept_tensors(preprocess: Preprocess, share: float) -> int:
    """How many tensors to keep of a part that is `share` of the samples, so that judging takes bounded memory."""
    spec = preprocess.input
    size_bytes = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
    return max(64, int(share * min(JUDGED_SAMPLES, JUDGED_BYTES // size_bytes)))


def build_variants(job: Job, base: Built, wished: Sequence[Wish]) -> Variants:
    """Build, judge and measure every precision that is wished for; `base` is the float32 variant.

    Raises EngineError, DatasetError.
    """
    samples = _judged(base)
    names = list(dict.fromkeys(wish.precision for wish in wished if wish.precision != FP32.name))
    candidates: dict[str, Candidate] = {}
    if names:
        fit = functools.partial(_fitted, job)
        judge = Judge(samples.features, samples.labels, fit, _scoring(job, base) if job.outputs else None)
        candidates = _candidates(job, base, wished, names, judge, samples)
        wished = _with_fall_back(wished, candidates)
        if FP16.name not in candidates and any(wish.precision == FP16.name for wish in wished):
            candidates.update(_candidates(job, base, wished, [FP16.name], judge, samples))
    trials = _trials(job, base, candidates, samples)
    verdicts = tuple(judge_wish(wish, candidates, trials) for wish in wished)
    granted = {verdict.wish.precision for verdict in verdicts if verdict.offered}
    built = [_finished(job, base, found) for name, found in candidates.items() if name in granted]
    return Variants((base, *built), verdicts, candidates, trials)


def _judged(base: Built) -> JudgedSamples:
    parts = (base.training, base.held_out)
    return JudgedSamples(
        [tensor for part in parts for tensor in part.tensors],
        np.concatenate([part.features[part.rows] for part in parts]),
        [part.labels[row] for part in parts for row in part.rows],
        len(base.training.rows),
    )


def _scoring(job: Job, base: Built) -> NumberScoring:
    parts = [part.targets(job.outputs)[part.rows] for part in (base.training, base.held_out)]
    return NumberScoring(np.concatenate(parts))


def _candidates(
    job: Job, base: Built, wished: Sequence[Wish], names: Sequence[str], judge: Judge, samples: JudgedSamples
) -> dict[str, Candidate]:
    served = {
        name: engines_here([w.engine for w in wished if w.precision == name and w.engine != "tensorrt"])
        for name in names
    }
    tune = None
    if job.aware_epochs and job.source.module is not None:

        def tune() -> bytes:
            from edgetl.export import export_onnx
            from edgetl.quantize.aware import tuned_extractor

            tensors = samples.tensors[: samples.training]
            return export_onnx(tuned_extractor(job.source, tensors, job.aware_epochs, progress=job.progress))

    return build_candidates(
        base.graph, names, judge, samples, job.limits, engines=served, tune=tune, tuned_epochs=job.aware_epochs,
        threads=job.threads, progress=job.progress,
    )  # fmt: skip


def _with_fall_back(wished: Sequence[Wish], candidates: Mapping[str, Candidate]) -> tuple[Wish, ...]:
    """Where INT8 does not hold in TensorRT, float16 is the next thing to try, wished for or not."""
    result: list[Wish] = []
    for wish in wished:
        result.append(wish)
        failed = wish.precision in candidates and candidates[wish.precision].graph is None
        half = any((w.device, w.engine, w.precision) == (wish.device, wish.engine, FP16.name) for w in wished)
        if failed and wish.engine == "tensorrt" and not half:
            result.append(replace(wish, precision=FP16.name, why=f"in place of {wish.precision}. {wish.why}"))
    return tuple(result)


def _trials(job: Job, base: Built, candidates: Mapping[str, Candidate], samples: JudgedSamples) -> Trials:
    """Everything with a graph, on samples spread over both parts."""
    chosen = spread(range(samples.training, len(samples.tensors))) + spread(range(samples.training))
    entrants = {FP32.name: Entrant(FP32, base.graph, samples.features[chosen], lambda: base.member.factory)}

    def entrant(candidate: Candidate, graph: bytes) -> Entrant:
        def head() -> Head:
            return _fitted(job, candidate.features[: samples.training], list(samples.labels[: samples.training]))

        return Entrant(candidate.precision, graph, candidate.features[chosen], head)

    entrants.update({name: entrant(c, c.graph) for name, c in candidates.items() if c.graph is not None})
    return Trials(entrants, [samples.tensors[i] for i in chosen], job.threads, job.progress)


def _finished(job: Job, base: Built, candidate: Candidate) -> Built:
    """The variant with its own features of all samples, its statistics and its head."""
    graph, precision = candidate.graph or b"", candidate.precision
    space = feature_space(graph, precision, job.source.preprocess)
    engine = open_engine(FITTED_ON, graph, threads=job.threads)
    try:
        parts = []
        for words, part, was in (
            ("training", job.samples.training, base.training),
            ("held-out", job.samples.held_out, base.held_out),
        ):
            stage = f"features of the {words} part in {precision.name}"
            now = extract(engine, job.source.preprocess, part, job.progress, stage)
            if now.labels != was.labels:
                raise DatasetError(f"{job.samples.name} changed while it was being read; build again")
            parts.append(now)
    finally:
        engine.close()
    member = job.fit_member(space, parts[0], parts[1])
    # An engine that nobody measured may be as far off as quantization itself is, and no farther.
    cost = candidate.fidelity[FITTED_ON].max_rel
    tolerance = min(1.0, max(LEAST_TOLERANCE, cost if precision.activations else 10 * cost))
    return Built(precision, graph, space, parts[0], parts[1], member, tolerance, candidate)


def _fitted(job: Job, features: NDArray[np.float32], labels: list[str]) -> Head:
    nothing = ExtractedPart(features[:0], [], [], [], 0)
    return job.fit_member("", ExtractedPart(features, labels, [], [], 0), nothing).factory
