"""The graphs of other precisions that a choice is judged on: quantized at once, every layer, without a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetl_runtime.errors import EdgetlError

from edgetl.profiles import DeviceProfile
from edgetl.progress import Progress, Step
from edgetl.quantize.recipes import FP16, FP32, INT8, PRECISIONS, S8S8, U8S8, recipes_of
from edgetl.quantize.speed import host_family
from edgetl.tuning.samples import Samples

__all__ = ["Variant", "asked_precisions", "variants_of"]


@dataclass(frozen=True)
class Variant:
    """A graph in one precision; `error` says why there is none, or is empty."""

    precision: str
    graph: bytes
    error: str = ""


def asked_precisions(names: Sequence[str], profiles: Sequence[DeviceProfile]) -> tuple[str, ...]:
    """The rows of `edgetl.quantize.PRECISIONS` that these names mean, in their order.

    "int8" is what the profiles want, and without any the recipe that is fast on this machine. Raises QuantizeError.
    """
    found: list[str] = []
    for name in names:
        rows = recipes_of(name)
        if name == INT8:
            listed = {row for profile in profiles for row in profile.precisions.value}
            here = U8S8.name if host_family() == "x86" else S8S8.name
            rows = tuple(row for row in rows if row in listed) or (here,)
        found += rows
    return tuple(dict.fromkeys(found)) or (FP32.name,)


def variants_of(
    graph: bytes, samples: Samples, precisions: Sequence[str], progress: Progress, name: str
) -> tuple[Variant, ...]:
    """A float32 graph in each precision, calibrated on samples of every class; raises QuantizeError, ExportError.

    One precision that cannot be had keeps its place with its error.
    """
    from edgetl.quantize.graph import prepare
    from edgetl.quantize.half import half_graph
    from edgetl.quantize.int8 import Calibrated, calibrate, choose_calibration

    found: list[Variant] = []
    ranges: Calibrated | None = None
    for precision in precisions:
        if precision == FP32.name:
            found.append(Variant(precision, graph))
            continue
        try:
            if precision == FP16.name:
                found.append(Variant(precision, half_graph(prepare(graph))))
                continue
            if ranges is None:
                progress(Step(f"{name}: calibrating", 0, 1))
                labels = [str(code) for code in samples.truth] if samples.classes else [""] * len(samples)
                rows = choose_calibration(labels)
                ranges = calibrate(prepare(graph), [samples.tensors[row : row + 1] for row in rows])
                progress(Step(f"{name}: calibrating", 1, 1))
            found.append(Variant(precision, ranges.graph(PRECISIONS[precision])))
        except EdgetlError as error:
            found.append(Variant(precision, b"", str(error)))
    return tuple(found)
