"""What the variants of a bundle cost on this machine: one frame from sample to answer, and the memory of a process."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from edgetl_runtime.bundle import Bundle
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.engines import Engine, open_engine
from edgetl_runtime.errors import EngineError
from numpy.typing import NDArray

from edgetl.choosing.footprint import ENGINE, peak_bytes
from edgetl.extraction import run_engine
from edgetl.quantize.speed import interleaved_ms, latencies_ms

__all__ = ["Cost", "Costs", "measured_costs"]

_ROUNDS = 6


@dataclass(frozen=True)
class Cost:
    """A variant in onnxruntime on one thread of this machine; `error` says why it has no figures, or is empty."""

    variant: str
    latency_ms: float = float("nan")
    peak_bytes: int = 0
    error: str = ""


@dataclass(frozen=True)
class Costs:
    """`variants`, float32 first; `steps` are medians in ms of one frame of it, by step; `machine` in words."""

    variants: tuple[Cost, ...]
    steps: Mapping[str, float]
    machine: str


def measured_costs(bundle: Bundle, head: HeadMember, sample: NDArray[Any]) -> Costs:
    """Measure all variants in turns on one sample; takes some seconds. Raises EngineError where float32 fails."""
    manifest = bundle.manifest
    tensor = manifest.preprocess.apply(sample)
    found: list[Cost] = []
    with ExitStack() as opened:
        engines: dict[str, Engine] = {}
        for number, variant in enumerate(manifest.variants):
            try:
                engine = open_engine(ENGINE, bundle.members[variant.extractor], threads=1)
                opened.callback(engine.close)
                engine.run({engine.inputs[0].name: tensor})
                engines[variant.name] = engine
            except EngineError as error:
                if not number:
                    raise
                found.append(Cost(variant.name, error=str(error)))
        first = manifest.variants[0].name
        features = run_engine(engines[first], tensor)[None]
        factory = head.factory
        latency = latencies_ms(engines, tensor, _ROUNDS)
        steps = interleaved_ms(
            {
                "preprocessing": lambda: manifest.preprocess.apply(sample),
                "head": lambda: factory.decision(features),
            },
            _ROUNDS,
        )
    for variant in manifest.variants:
        if variant.name in latency:
            found.append(Cost(variant.name, latency[variant.name], peak_bytes(bundle.members[variant.extractor])))
    order = [variant.name for variant in manifest.variants]
    found.sort(key=lambda cost: order.index(cost.variant))
    steps = {"preprocessing": steps["preprocessing"], "extractor": latency[first], "head": steps["head"]}
    return Costs(tuple(found), steps, f"{platform.machine()}, onnxruntime, one thread")
