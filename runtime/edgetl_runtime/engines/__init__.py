"""Inference engines: a row in a table and one file each. The first that loads, in the caller's order, serves."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Dict, NamedTuple, Optional, Protocol, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import EngineError, EngineUnavailableError
from edgetl_runtime.types import TensorSpec

__all__ = ["ENGINES", "Engine", "EngineRow", "open_engine"]


class Engine(Protocol):
    """One loaded graph. `description` names library, version and the provider really in use."""

    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]
    description: str

    def run(self, tensors: Dict[str, NDArray[np.generic]]) -> Dict[str, NDArray[np.generic]]:
        """Outputs by name for inputs by name; raises EngineError."""

    def close(self) -> None:
        """Release the graph."""


class EngineRow(NamedTuple):
    """Where an engine lives, what it imports, and how to get that."""

    module: str
    needs: str
    how: str


ENGINES: Dict[str, EngineRow] = {
    "onnxruntime": EngineRow(
        "edgetl_runtime.engines.onnxruntime_engine", "onnxruntime", "pip install 'edgetl-runtime[onnxruntime]'"
    ),
}


def open_engine(name: str, graph: bytes, *, threads: Optional[int] = None) -> Engine:
    """Load an ONNX graph (verified bytes) into the engine of that name, with that many threads.

    Raises EngineUnavailableError when it is not installed or does not load, EngineError when it refuses
    the graph.
    """
    if name not in ENGINES:
        raise EngineUnavailableError(f"there is no engine {name!r}; there are {sorted(ENGINES)}")
    if threads is not None and threads < 1:
        raise EngineError(f"threads must be at least 1, or None for the engine's own choice; got {threads}")
    row = ENGINES[name]
    if importlib.util.find_spec(row.needs) is None:
        raise EngineUnavailableError(f"the engine {name} needs {row.needs}, which is not installed: {row.how}")
    try:
        module = importlib.import_module(row.module)
    except ImportError as error:
        if (error.name or "").startswith("edgetl_runtime"):
            raise  # a fault of ours is not a missing package
        raise EngineUnavailableError(f"{row.needs} is installed and does not load: {error}") from error
    if b"location" in graph:
        # ONNX keeps strings literally, and only external data needs this word: older onnxruntime versions
        # would read any file that it names.
        raise EngineError("the graph refers to external data (it holds the word 'location'); build the bundle again")
    engine: Engine = module.load(graph, threads)
    return engine
