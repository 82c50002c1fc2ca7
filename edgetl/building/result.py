"""What a build says of itself: the bundle, how well its head does, and what each variant keeps of that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgetl_runtime.bundle import EngineChoice
from edgetl_runtime.types import Output
from numpy.typing import NDArray

from edgetl.building.device_plans import Verdict
from edgetl.building.engine_trials import EngineFigures
from edgetl.building.held_out_answers import Answers, NumberAnswers
from edgetl.building.number_heads import OutputError
from edgetl.parity import Parity
from edgetl.quantize.fidelity import Fidelity, Limits
from edgetl.quantize.ladder import GroupLoss, Rung

__all__ = ["BuildResult", "HeldOut", "VariantReport"]


@dataclass(frozen=True)
class HeldOut:
    """Shares (0..1) of `samples` that no head was fitted on: right by each head, and decided as float32 does.

    `float_head` is the head of float32 on the variant's features, `own_head` the variant's own.
    """

    samples: int
    float_accuracy: float
    float_head: float
    own_head: float
    agreement: float


@dataclass(frozen=True)
class VariantReport:
    """A variant that was tried, shipped or not, and `why`; float32 is first, and what the others are held against.

    `fidelity` against float32 and `engines` are by engine of this host. `kept` are layer groups that stayed in
    float32, `groups` what each of them costs, `rungs` what was tried, from all in INT8 down. `calibration_samples` and
    `corrected` biases are those of INT8; `tuned_epochs` of quantization-aware tuning went into it.
    """

    name: str
    kind: str
    shipped: bool
    why: str
    graph_bytes: int
    held_out: HeldOut | None
    engines: dict[str, EngineFigures]
    fidelity: dict[str, Fidelity]
    kept: tuple[str, ...] = ()
    groups: tuple[GroupLoss, ...] = ()
    rungs: tuple[Rung, ...] = ()
    calibration_samples: int = 0
    corrected: bool = False
    tuned_epochs: int = 0


@dataclass(frozen=True)
class BuildResult:
    """What was built, and how well it does on samples of the source that it was not fitted on.

    `confusion` is (K, K) counts, rows the truth. `held_out_accuracy` and `majority_accuracy` (always
    answering the commonest class) are None when nothing was held out. `skipped` counts samples by reason.
    Where samples have numbers in place of labels there are no classes, and `output_errors` takes their place.
    `source_features` counts the source samples whose features the head carries, for a head refitted from those.
    `variants`, `plans` and `verdicts` are of a build for devices: what was tried, what each device is told to try,
    and what came of each of its profile's wishes; they were judged by `limits`.
    `answers` is what the head says of each held-out sample. The oracle is the same head, fitted on the held-out samples
    too: `oracle_accuracy`, or of each number `oracle_rmse`; None and () for heads refitted from stored samples.
    """

    path: Path
    bundle_id: str
    signed: bool
    classes: tuple[str, ...]
    dim: int
    feature_space: str
    training_samples: int
    held_out_samples: int
    skipped: dict[str, int]
    held_out_accuracy: float | None
    majority_accuracy: float | None
    confusion: NDArray[np.int64]
    parity: Parity
    decisions_agreed: float
    member_bytes: dict[str, int]
    bundle_bytes: int
    seconds: dict[str, float]
    source_features: int = 0
    outputs: tuple[Output, ...] = ()
    output_errors: tuple[OutputError, ...] = ()
    variants: tuple[VariantReport, ...] = ()
    plans: dict[str, tuple[EngineChoice, ...]] | None = None
    verdicts: tuple[Verdict, ...] = ()
    limits: Limits | None = None
    answers: Answers | NumberAnswers | None = None
    oracle_accuracy: float | None = None
    oracle_rmse: tuple[float, ...] = ()

    @property
    def caution(self) -> str:
        """What the limits cannot be told from with as many samples; "" where they can."""
        judged = [fidelity for variant in self.variants for fidelity in variant.fidelity.values()]
        if self.limits is None or not judged:
            return ""
        samples, noise = judged[0].samples, max(fidelity.drop_error for fidelity in judged)
        one = 100.0 / samples
        if max(one, noise) <= self.limits.max_drop:
            return ""
        return (
            f"{samples} samples cannot show a drop of {self.limits.max_drop:g} points: one of them is {one:.2f} points,"
            f" and the standard error is up to {noise:.2f}. The limits were applied to what was measured"
        )
