"""What is granted of a device's wishes: by what was measured on this host, else by what is recorded of such boards."""

from __future__ import annotations

from collections.abc import Mapping

from edgetl.building.device_plans import Verdict, Wish, measurable_here
from edgetl.building.engine_trials import EngineFigures, Trials
from edgetl.errors import ExportError
from edgetl.quantize.candidates import Candidate

__all__ = ["LEAST_SPEEDUP", "LEAST_TOLERANCE", "judge_wish"]

LEAST_SPEEDUP = 1.05  # less is what two runs of one graph differ by
# Of the largest feature: room for another engine version, and for a Pillow that rounds a pixel the other way (6e-3).
LEAST_TOLERANCE = 1e-2
FLOAT_LIMIT = 1e-3  # of the largest feature; what float32 kernels of two libraries differ by is 1e-6 to 1e-4


def judge_wish(wish: Wish, candidates: Mapping[str, Candidate], trials: Trials) -> Verdict:
    """Whether that wish is granted; raises EngineError when an engine breaks while its speed is measured."""
    candidate = candidates.get(wish.precision)
    words = [] if candidate is None else [candidate.why]
    if candidate is not None and candidate.graph is None:
        return Verdict(wish, False, candidate.why)
    if candidate is not None and wish.engine in candidate.deviating:
        return Verdict(wish, False, f"{wish.engine} computes this graph wrongly: {candidate.deviating[wish.engine]}")
    if wish.engine == "tensorrt":
        try:
            words.append(trials.compiled(wish.precision))
        except ExportError as error:
            return Verdict(wish, False, str(error))
    found: EngineFigures | str | None = None
    if wish.options.get("provider", "cpu") == "cpu":
        found = trials.figures(wish.engine, wish.precision, speed=measurable_here(wish))
    if isinstance(found, str):
        return Verdict(wish, False, found)
    if found is None:
        words.append(f"not measured on this host; recorded: {wish.why}")
        return Verdict(wish, True, _joined(words))
    if candidate is None and found.parity.max_rel > FLOAT_LIMIT:
        off = f"{found.parity.max_rel:.1e} of the largest feature"
        return Verdict(wish, False, f"{found.description} differs from float32 elsewhere by {off}")
    tolerance = min(1.0, max(LEAST_TOLERANCE, 3 * found.parity.max_rel))
    if found.speedup is None or found.latency_ms is None:
        said = "float32 always works" if candidate is None else f"its speed is not measured; recorded: {wish.why}"
        return Verdict(wish, True, _joined([*words, said]), tolerance)
    ms = f"{found.latency_ms:.2f} ms in {found.description} on this host"
    if found.speedup < LEAST_SPEEDUP:
        why = f"no faster than float32: {found.speedup:.2f} times, {ms}"
        return Verdict(wish, False, why, tolerance, found.speedup)
    words.insert(0, f"{found.speedup:.2f} times as fast as float32, {ms}")
    return Verdict(wish, True, _joined(words), tolerance, found.speedup)


def _joined(words: list[str]) -> str:
    return "; ".join(word for word in words if word)
