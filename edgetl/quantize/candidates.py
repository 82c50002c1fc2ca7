"""From one float32 graph to the graphs of other precisions that hold the limits, each with what was tried and why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import ExportError, QuantizeError
from edgetl.progress import Progress, Step, silent
from edgetl.quantize.bias import HOW_TO_GET_NNCF, corrected_biases, has_nncf
from edgetl.quantize.fidelity import Fidelity, Judge, Limits
from edgetl.quantize.graph import prepare
from edgetl.quantize.half import half_graph
from edgetl.quantize.int8 import CALIBRATION_SAMPLES, Calibrated, calibrate, choose_calibration
from edgetl.quantize.ladder import FITTED_ON, Descent, descend, engine_features
from edgetl.quantize.recipes import FP16, PRECISIONS, Precision

__all__ = ["Candidate", "JudgedSamples", "build_candidates"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgedSamples:
    """Samples that variants are judged on, as the graph takes them, with float32 features (N, D) and labels (N).

    The first `training` of them are of the training part: calibration draws from those.
    """

    tensors: Sequence[NDArray[Any]]
    features: NDArray[np.float32]
    labels: Sequence[str]
    training: int


@dataclass(frozen=True)
class Candidate:
    """A precision that was tried: `graph` is None when it cannot hold the limits, `why` says so or how it does.

    `features` (N, D) of the judged samples, and `fidelity` by engine, are those of the graph, or of the last that
    was tried. `descents` are the ladders gone down, a second one after quantization-aware tuning; `tuned_epochs` of it
    went into the graph.
    """

    precision: Precision
    graph: bytes | None
    features: NDArray[np.float32]
    fidelity: dict[str, Fidelity]
    why: str
    descents: tuple[Descent, ...] = ()
    tuned_epochs: int = 0

    @property
    def deviating(self) -> dict[str, str]:
        """Engines that compute this graph otherwise than onnxruntime does, and by how much."""
        return self.descents[-1].deviating if self.descents else {}


def build_candidates(
    graph: bytes,
    names: Sequence[str],
    judge: Judge,
    samples: JudgedSamples,
    limits: Limits,
    *,
    engines: Mapping[str, Sequence[str]] | None = None,
    tune: Callable[[], bytes] | None = None,
    tuned_epochs: int = 0,
    calibration_samples: int = CALIBRATION_SAMPLES,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, Candidate]:
    """A candidate for each of `names` (of `PRECISIONS`, float32 not among them).

    `engines` are those here that each name is for. `tune` gives the float32 graph of a network that was tuned to be
    quantized, for `tuned_epochs`; it is asked for, once, when no rung of an INT8 recipe holds. Raises EngineError.
    """
    model = prepare(graph)
    found: dict[str, Candidate] = {}
    calibrated: dict[bool, tuple[Calibrated, dict[str, NDArray[np.float32]], int]] = {}

    def ready(tuned: bool) -> tuple[Calibrated, dict[str, NDArray[np.float32]], int]:
        if tuned not in calibrated:
            prepared = prepare(tune()) if tuned and tune is not None else model
            calibrated[tuned] = _calibrated(prepared, samples, calibration_samples, progress)
        return calibrated[tuned]

    for name in names:
        precision = PRECISIONS[name]
        try:
            if precision is FP16:
                found[name] = _half(half_graph(model), judge, samples, limits, threads)
                continue
            descents: list[Descent] = []
            for tuned in (False, True) if tune is not None else (False,):
                ranges, biases, count = ready(tuned)
                descents.append(
                    descend(
                        ranges, precision, judge, samples.tensors, limits, biases=biases,
                        engines=(FITTED_ON, *(e for e in (engines or {}).get(name, ()) if e != FITTED_ON)),
                        calibration_samples=count, threads=threads, progress=progress,
                    )
                )  # fmt: skip
                if descents[-1].graph is not None:
                    break
            found[name] = _int8(precision, descents, tuned_epochs)
        except (QuantizeError, ExportError) as error:
            logger.warning("%s is not built: %s", name, error)
            found[name] = Candidate(precision, None, np.zeros((0, 0), np.float32), {}, str(error))
    return found


def _calibrated(
    model: Any, samples: JudgedSamples, most: int, progress: Progress
) -> tuple[Calibrated, dict[str, NDArray[np.float32]], int]:
    chosen = choose_calibration(list(samples.labels[: samples.training]), most)
    tensors = [samples.tensors[i] for i in chosen]
    progress(Step("calibrating", 0, 2))
    ranges = calibrate(model, tensors)
    progress(Step("calibrating", 1, 2))
    biases: dict[str, NDArray[np.float32]] = {}
    if has_nncf():
        try:
            biases = corrected_biases(model, tensors)
        except QuantizeError as error:  # of some operator that it does not know: the biases stay as they are
            logger.warning("%s; INT8 goes without", error)
    else:
        logger.warning("nncf is not installed, so INT8 biases are not corrected: %s", HOW_TO_GET_NNCF)
    progress(Step("calibrating", 2, 2))
    return ranges, biases, len(tensors)


def _half(graph: bytes, judge: Judge, samples: JudgedSamples, limits: Limits, threads: int | None) -> Candidate:
    features = engine_features(graph, samples.tensors, FITTED_ON, threads)
    fidelity = judge.fidelity(features)
    held = fidelity.holds(limits)
    why = f"float16: {fidelity.words()}" if held else f"float16 does not hold the limits: {fidelity.words()}"
    return Candidate(FP16, graph if held else None, features, {FITTED_ON: fidelity}, why)


def _int8(precision: Precision, descents: Sequence[Descent], tuned_epochs: int) -> Candidate:
    last = descents[-1]
    tuned = tuned_epochs if len(descents) > 1 else 0
    why = f"after {tuned} epochs of quantization-aware tuning: {last.why}" if tuned else last.why
    return Candidate(precision, last.graph, last.features, last.rungs[-1].fidelity, why, tuple(descents), tuned)
