"""Graphs in the engines of this host: do they compute the same, how fast, and does TensorRT's compiler take them?"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from edgetl_runtime.engines import ENGINES, Engine, open_engine
from edgetl_runtime.engines.tensorrt_builder import PlanError
from edgetl_runtime.errors import EngineError, EngineUnavailableError
from edgetl_runtime.heads import Head
from numpy.typing import NDArray

from edgetl.building.number_heads import answers_agreed
from edgetl.errors import ExportError, MissingPackageError
from edgetl.export.tensorrt import check_ahead_of_time
from edgetl.extraction import run_engine
from edgetl.parity import Parity, compare
from edgetl.progress import Progress, Step
from edgetl.quantize.recipes import FP16, FP32, Precision
from edgetl.quantize.speed import latencies_ms

__all__ = ["EngineFigures", "Entrant", "Trials", "engines_here", "open_here"]

logger = logging.getLogger(__name__)

_TENSORRT = {FP32.kind: "fp32", FP16.kind: "fp16"}  # whatever else there is is quantized


@dataclass(frozen=True)
class EngineFigures:
    """One variant in one engine of this host, against the features and decisions that its bundle calls right.

    `latency_ms`, and `speedup` over float32 in the same engine, are None where they were not measured.
    """

    description: str
    parity: Parity
    decisions_agreed: float
    latency_ms: float | None = None
    speedup: float | None = None


@dataclass(frozen=True)
class Entrant:
    """A graph to be tried: what its bundle calls right for the tensors, features (N, D), and a head for those."""

    precision: Precision
    graph: bytes
    features: NDArray[np.float32]
    head: Callable[[], Head]


def engines_here(engines: Sequence[str]) -> tuple[str, ...]:
    """Those of the engines whose package is installed on this host, each once."""
    return tuple(dict.fromkeys(name for name in engines if importlib.util.find_spec(ENGINES[name].needs) is not None))


def open_here(engine: str, graph: bytes, precision: Precision, threads: int | None, cache_dir: Path) -> Engine:
    """That graph in that engine with the options that a device gives it; raises EngineError."""
    options: dict[str, Any] = {}
    if engine == "openvino":
        options = {"precision": "f32"}
    elif engine == "tensorrt":
        options = {"precision": _TENSORRT.get(precision.kind, "int8"), "build": True}
    return open_engine(engine, graph, threads=threads, cache_dir=cache_dir, **options)


class Trials:
    """Entrants by name on the same tensors (each as the graph takes it); each is asked once, when somebody asks."""

    def __init__(
        self,
        entrants: Mapping[str, Entrant],
        tensors: Sequence[NDArray[Any]],
        threads: int | None,
        progress: Progress,
    ) -> None:
        self._entrants, self._tensors = entrants, tensors
        self._threads, self._progress = threads, progress
        self._figures: dict[tuple[str, str], EngineFigures | str | None] = {}
        self._compiled: dict[str, str | ExportError] = {}

    def figures(self, engine: str, name: str, speed: bool = False) -> EngineFigures | str | None:
        """Figures of that entrant; the words of an engine that refuses it; None where the engine is not here.

        With `speed` also its latency beside that of float32.
        """
        if (engine, name) not in self._figures:
            self._progress(Step(f"{name} in {engine}", 0, 1))
            self._figures[engine, name] = self._tried(engine, self._entrants[name])
            self._progress(Step(f"{name} in {engine}", 1, 1))
        found = self._figures[engine, name]
        if speed and name != FP32.name and isinstance(found, EngineFigures) and found.latency_ms is None:
            self._progress(Step(f"speed of {name} in {engine}", 0, 1))
            plain = self.figures(engine, FP32.name)
            ms = self._speed(engine, (FP32.name, name))
            found = replace(found, latency_ms=ms[name], speedup=ms[FP32.name] / ms[name])
            self._figures[engine, name] = found
            if isinstance(plain, EngineFigures):
                self._figures[engine, FP32.name] = replace(plain, latency_ms=ms[FP32.name])
            self._progress(Step(f"speed of {name} in {engine}", 1, 1))
        return found

    def measured(self, name: str) -> dict[str, EngineFigures]:
        """What was measured of that entrant so far, by engine."""
        return {e: f for (e, n), f in self._figures.items() if n == name and isinstance(f, EngineFigures)}

    def compiled(self, name: str) -> str:
        """What TensorRT's compiler says, in words; "" where it is not installed. Raises ExportError."""
        if name not in self._compiled:
            try:
                self._compiled[name] = _compiled(self._entrants[name])
            except ExportError as error:
                self._compiled[name] = error
        found = self._compiled[name]
        if isinstance(found, ExportError):
            raise found
        return found

    def _tried(self, engine: str, entrant: Entrant) -> EngineFigures | str | None:
        if not engines_here([engine]):
            return None
        with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
            try:
                opened = open_here(engine, entrant.graph, entrant.precision, self._threads, Path(folder))
            except EngineError as error:
                logger.info("%s was not measured: %s", engine, error)
                # TensorRT may be installed where there is no GPU for it.
                return None if isinstance(error, EngineUnavailableError) or engine == "tensorrt" else str(error)
            try:
                features = np.stack([run_engine(opened, tensor) for tensor in self._tensors])
            except EngineError as error:
                return str(error)
            finally:
                opened.close()
        head = entrant.head()
        agreed = answers_agreed(head, entrant.features, features)
        return EngineFigures(opened.description, compare(entrant.features, features), agreed)

    def _speed(self, engine: str, names: Sequence[str]) -> dict[str, float]:
        """Median latency in ms of each entrant, in turns; raises EngineError."""
        opened: dict[str, Engine] = {}
        with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
            try:
                for name in names:
                    entrant = self._entrants[name]
                    opened[name] = open_here(engine, entrant.graph, entrant.precision, self._threads, Path(folder))
                return latencies_ms(opened, self._tensors[0])
            finally:
                for one in opened.values():
                    one.close()


def _compiled(entrant: Entrant) -> str:
    try:
        checked = check_ahead_of_time(entrant.graph, _TENSORRT.get(entrant.precision.kind, "int8"))
    except MissingPackageError:
        return ""
    except ExportError as error:
        if isinstance(error.__cause__, PlanError):
            raise
        logger.warning("%s", error)  # the compiler did not start: that says nothing of the graph
        return ""
    return f"compiled by TensorRT for RTX {checked.version} on the host"
