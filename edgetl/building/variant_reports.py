"""Variants as the result, the manifest and the golden samples of a bundle need to have them said."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.building.engine_trials import open_here
from edgetl.building.golden_and_guard import Answers
from edgetl.building.result import HeldOut, VariantReport
from edgetl.building.variants import Built, Job, Variants
from edgetl.extraction import run_engine
from edgetl.quantize.candidates import Candidate
from edgetl.quantize.fidelity import Limits
from edgetl.quantize.ladder import FITTED_ON
from edgetl.quantize.recipes import FP32

__all__ = ["golden_answers", "quantization_facts", "variant_reports"]


def variant_reports(made: Variants) -> tuple[VariantReport, ...]:
    """Every variant that was tried, float32 first."""
    base = made.built[0]
    shipped = {built.precision.name: built for built in made.built}
    float32 = VariantReport(
        FP32.name, FP32.kind, True, "float32 always works", len(base.graph), _held_out(base, base),
        made.trials.measured(FP32.name), {},
    )  # fmt: skip
    return (float32, *(_report(made, shipped, name, found) for name, found in made.candidates.items()))


def quantization_facts(made: Variants, limits: Limits) -> dict[str, Any]:
    """What a manifest says of where its variants come from."""
    return {
        "limits": {"max_drop": limits.max_drop, "min_agreement": limits.min_agreement},
        "variants": {
            name: {
                "why": found.why,
                **{
                    engine: {
                        "drop": one.drop, "drop_error": one.drop_error, "agreement": one.agreement,
                        "snr_db": one.snr_db, "cosine_min": one.cosine_min, "samples": one.samples,
                    }
                    for engine, one in found.fidelity.items()
                },
            }
            for name, found in made.candidates.items()
        },
        "refused": [
            {"device": v.wish.device, "engine": v.wish.engine, "precision": v.wish.precision, "why": v.why}
            for v in made.verdicts
            if not v.offered
        ],
    }  # fmt: skip


def golden_answers(job: Job, made: Variants, frames: Sequence[NDArray[Any]]) -> dict[str, Answers]:
    """Each shipped variant's features of the frames, in every engine of this host that it is offered to."""
    tensors = [job.source.preprocess.apply(frame) for frame in frames]
    answers = {}
    for built in made.built:
        name = built.precision.name
        offered = {v.wish.engine for v in made.verdicts if v.offered and v.wish.precision == name}
        engines = [FITTED_ON, *(e for e in made.trials.measured(name) if e in offered and e != FITTED_ON)]
        answers[name] = Answers(built.member.factory, {e: _features(e, built, tensors, job.threads) for e in engines})
    return answers


def _features(engine: str, built: Built, tensors: Sequence[NDArray[Any]], threads: int | None) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        opened = open_here(engine, built.graph, built.precision, threads, Path(folder))
        try:
            return np.stack([run_engine(opened, tensor) for tensor in tensors])
        finally:
            opened.close()


def _report(made: Variants, shipped: dict[str, Built], name: str, found: Candidate) -> VariantReport:
    last = found.descents[-1] if found.descents else None
    refused = [v.why for v in made.verdicts if v.wish.precision == name and not v.offered]
    built = shipped.get(name)
    return VariantReport(
        name=name,
        kind=found.precision.kind,
        shipped=built is not None,
        why=found.why if built is not None or found.graph is None else "; ".join(dict.fromkeys(refused)),
        graph_bytes=len(found.graph or b""),
        held_out=None if built is None else _held_out(made.built[0], built),
        engines=made.trials.measured(name) if found.graph is not None else {},
        fidelity=found.fidelity,
        kept=last.kept if last else (),
        groups=last.groups if last else (),
        rungs=tuple(rung for descent in found.descents for rung in descent.rungs),
        calibration_samples=last.calibration_samples if last else 0,
        corrected=last.corrected if last else False,
        tuned_epochs=found.tuned_epochs,
    )


def _held_out(base: Built, built: Built) -> HeldOut | None:
    truth = base.held_out.labels
    if not truth or not base.member.factory.classes:
        return None
    was = [str(label) for label in base.member.factory.predict(base.held_out.features)]
    old = [str(label) for label in base.member.factory.predict(built.held_out.features)]
    now = [str(label) for label in built.member.factory.predict(built.held_out.features)]
    return HeldOut(len(truth), _share(was, truth), _share(old, truth), _share(now, truth), _share(now, was))


def _share(decided: Sequence[str], wanted: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(decided, wanted, strict=True)) / len(wanted)
