"""The engine `tensorrt` opened on the doubles, and whether what it gives is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
from edgetl_runtime.engines import checks
from edgetl_runtime.engines.tensorrt_builder import BuildOptions, Built, build_plan
from edgetl_runtime.engines.tensorrt_engine import open_tensorrt
from edgetl_runtime.engines.tensorrt_executor import TensorrtEngine

from tests.runtime.engines.tensorrt_double import CudaDouble, tensorrt

GRAPH = checks.TINY_GRAPH


class Builds:
    """`build_plan` with a double, counting."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.count = 0
        self.timing: List[bytes] = []

    def __call__(self, graph: bytes, options: BuildOptions, *, folder: Path, stop: Any, **arguments: Any) -> Built:
        self.count += 1
        self.timing.append(arguments["timing"])
        return build_plan(self.trt, graph, options, **arguments)


def opened(version: str = "10.3", **options: Any) -> TensorrtEngine:
    trt = options.pop("trt", None) or tensorrt(version)
    cuda = options.pop("cuda", None) or CudaDouble()
    options.setdefault("build", Builds(trt))
    graph, built = options.pop("graph", GRAPH), options.pop("options", BuildOptions())
    return open_tensorrt(trt, cuda, graph, built, **options)


def features(engine: TensorrtEngine, number: int = 0) -> Any:
    return engine.run({"image": checks.tiny_samples(number + 1)[number]})["features"]


def right(engine: TensorrtEngine) -> bool:
    expected = checks.expected_features(checks.tiny_samples(1)[0])
    return bool(np.allclose(features(engine), expected, rtol=1e-4))
