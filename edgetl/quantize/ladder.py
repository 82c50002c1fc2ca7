"""Down the ladder until the limits hold: all layers in INT8, then the groups that cost most in float32, then none.

A group's share of the loss is what comes back when that group alone stays in float32. What is below the ladder,
float16 and float32, is for who chooses between variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.engines import open_engine
from numpy.typing import NDArray

from edgetl.extraction import run_engine
from edgetl.progress import Progress, Step, silent
from edgetl.quantize.fidelity import Fidelity, Judge, Limits, signal_to_noise_db
from edgetl.quantize.graph import LayerGroup, layer_groups
from edgetl.quantize.int8 import Calibrated
from edgetl.quantize.recipes import Precision

__all__ = ["FITTED_ON", "Descent", "GroupLoss", "Rung", "descend", "engine_features"]

FITTED_ON = "onnxruntime"  # features that heads are fitted on come from here
RANKED_SAMPLES = 48
_KEPT = (1, 2, 4, 6)


@dataclass(frozen=True)
class GroupLoss:
    """A layer group, and by how many dB the features come nearer to float32 when it alone is left in float32."""

    name: str
    gain_db: float


@dataclass(frozen=True)
class Rung:
    """One thing that was tried, and whether the limits held in every engine; `fidelity` ends where they did not."""

    what: str
    fidelity: dict[str, Fidelity]
    holds: bool


@dataclass(frozen=True)
class Descent:
    """What came of one INT8 recipe: the graph that holds the limits, or None, and how it was found.

    `features` (N, D) are those of the judged samples on the last rung. `kept` names the groups that stayed in
    float32. `corrected` says whether corrected biases were better. `deviating` maps engines that compute this graph
    otherwise than onnxruntime does to by how much.
    """

    recipe: Precision
    graph: bytes | None
    features: NDArray[np.float32]
    calibration_samples: int
    corrected: bool
    kept: tuple[str, ...]
    groups: tuple[GroupLoss, ...]
    rungs: tuple[Rung, ...]
    deviating: dict[str, str]

    @property
    def why(self) -> str:
        """What was taken, in words."""
        last = self.rungs[-1]
        worst = min(last.fidelity.values(), key=lambda fidelity: fidelity.agreement)
        if self.graph is None:
            return f"no rung of {self.recipe.name} holds the limits; the last, {last.what}: {worst.words()}"
        return f"{last.what}: {worst.words()}"


def descend(
    calibrated: Calibrated,
    recipe: Precision,
    judge: Judge,
    tensors: Sequence[NDArray[Any]],
    limits: Limits,
    *,
    biases: dict[str, NDArray[np.float32]] | None = None,
    engines: Sequence[str] = (FITTED_ON,),
    calibration_samples: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
) -> Descent:
    """Quantize by `recipe`, keeping as few layer groups in float32 as the limits allow.

    `tensors` are the judged samples as the graph takes them, in the order of the judge. `engines` are those here
    that the variant is for; the limits must hold in each. Raises QuantizeError, ExportError, EngineError.
    """
    groups = layer_groups(calibrated.model)
    ranked = list(range(0, len(tensors), max(1, len(tensors) // RANKED_SAMPLES)))[:RANKED_SAMPLES]
    some = [tensors[i] for i in ranked]
    reference = judge.reference[ranked]
    stage = f"layers of {recipe.name}"

    def nearness(keep: Sequence[str], corrected: bool) -> float:
        graph = calibrated.graph(recipe, keep, biases if corrected else None)
        return signal_to_noise_db(reference, engine_features(graph, some, FITTED_ON, threads))

    progress(Step(stage, 0, len(groups)))
    plain = nearness((), False)
    moved = nearness((), True) if biases else plain
    corrected, base = moved > plain, max(plain, moved)
    losses = []
    for number, group in enumerate(groups):
        losses.append(GroupLoss(group.name, nearness(group.nodes, corrected) - base))
        progress(Step(stage, number + 1, len(groups)))

    deviating = {} if len(engines) < 2 else _deviating(
        calibrated.graph(recipe, (), biases if corrected else None), some, reference, engines, threads
    )  # fmt: skip
    serving = [engine for engine in engines if engine not in deviating]
    rungs: list[Rung] = []
    order = sorted(range(len(groups)), key=lambda i: -losses[i].gain_db)
    for count in (0, *(kept for kept in _KEPT if kept <= len(groups) // 2)):
        kept = tuple(groups[i] for i in sorted(order[:count]))
        nodes = [node for group in kept for node in group.nodes]
        graph = calibrated.graph(recipe, nodes, biases if corrected else None)
        progress(Step(f"judging {recipe.name}", len(rungs), None))
        features = engine_features(graph, tensors, FITTED_ON, threads)
        found: dict[str, Fidelity] = {}
        for engine in serving:
            served = None if engine == FITTED_ON else engine_features(graph, tensors, engine, threads)
            found[engine] = judge.fidelity(features, served)
            if not found[engine].holds(limits):
                break
        rungs.append(Rung(_what(kept), found, all(fidelity.holds(limits) for fidelity in found.values())))
        if rungs[-1].holds:
            break
    held = rungs[-1].holds
    return Descent(
        recipe, graph if held else None, features, calibration_samples, corrected,
        tuple(group.name for group in kept) if held else (), tuple(losses), tuple(rungs), deviating,
    )  # fmt: skip


def engine_features(
    graph: bytes, tensors: Sequence[NDArray[Any]], engine: str, threads: int | None = None, **options: Any
) -> NDArray[np.float32]:
    """Features (N, D) of tensors, each as the graph takes it, in that engine; raises EngineError."""
    opened = open_engine(engine, graph, threads=threads, **options)
    try:
        return np.stack([run_engine(opened, tensor) for tensor in tensors])
    finally:
        opened.close()


def _deviating(
    graph: bytes,
    tensors: Sequence[NDArray[Any]],
    reference: NDArray[np.float32],
    engines: Sequence[str],
    threads: int | None,
) -> dict[str, str]:
    """Engines whose features are farther from onnxruntime's than float32 is: they do not compute this graph."""
    fitted = engine_features(graph, tensors, FITTED_ON, threads)
    quantization = signal_to_noise_db(reference, fitted)
    found = {}
    for engine in engines:
        if engine != FITTED_ON:
            between = signal_to_noise_db(fitted, engine_features(graph, tensors, engine, threads))
            if between < quantization:
                found[engine] = (
                    f"its features are at {between:.1f} dB of onnxruntime's for the same graph, float32's are at"
                    f" {quantization:.1f} dB"
                )
    return found


def _what(kept: Sequence[LayerGroup]) -> str:
    return "every layer in INT8" if not kept else f"in float32: {'; '.join(group.name for group in kept)}"
