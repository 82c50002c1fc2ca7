"""Inference engines: a row in a table and one file each. The first that loads, in the caller's order, serves."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import threading
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Protocol, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.engines.graph import check_graph
from edgetl_runtime.errors import EngineError, EngineUnavailableError
from edgetl_runtime.types import TensorSpec

__all__ = ["ENGINES", "BuildProgress", "Engine", "EngineRow", "open_engine"]

# What a long build is doing, and the seconds since it began.
BuildProgress = Callable[[str, float], None]


class Engine(Protocol):
    """One loaded graph. `description` names library, version, and the provider and precision really in use.

    `run` may be called from several threads; what it returned is not written over by later runs. A new engine
    is held to `edgetl_runtime.engines.checks`.
    """

    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]
    description: str

    def run(self, tensors: Dict[str, NDArray[np.generic]]) -> Dict[str, NDArray[np.generic]]:
        """Outputs by name for inputs by name; raises EngineError."""

    def close(self) -> None:
        """Release the graph; harmless when repeated."""


class EngineRow(NamedTuple):
    """Where an engine lives, what it imports, and how to get that."""

    module: str
    needs: str
    how: str


ENGINES: Dict[str, EngineRow] = {
    "onnxruntime": EngineRow(
        "edgetl_runtime.engines.onnxruntime_engine", "onnxruntime", "pip install 'edgetl-runtime[onnxruntime]'"
    ),
    "openvino": EngineRow(
        "edgetl_runtime.engines.openvino_engine", "openvino", "pip install 'edgetl-runtime[openvino]'"
    ),
    "tensorrt": EngineRow(
        "edgetl_runtime.engines.tensorrt_engine",
        "tensorrt",
        "sudo apt install python3-libnvinfer (it is a part of JetPack; make a virtual environment that should see"
        " it with --system-site-packages)",
    ),
}


def open_engine(
    name: str,
    graph: bytes,
    *,
    threads: Optional[int] = None,
    cache_dir: Union[str, Path, None] = None,
    progress: Optional[BuildProgress] = None,
    build: bool = True,
    stop: Optional[threading.Event] = None,
    **options: Any,
) -> Engine:
    """Load an ONNX graph (verified bytes) into the engine of that name, with that many threads.

    `cache_dir` is a private folder for what an engine builds from the graph, `progress` hears of a long build,
    `stop` ends one when it is set, and without `build` there is none: EngineNotBuiltError says that one is needed.
    Engines that build nothing ignore all four. `options` are the engine's own, see the `load` of its module. Raises
    EngineUnavailableError when it is not installed, does not load, or would silently run elsewhere than asked;
    EngineError when it refuses the graph or an option, or runs out of memory.
    """
    if name not in ENGINES:
        raise EngineUnavailableError(f"there is no engine {name!r}; there are {sorted(ENGINES)}")
    if threads is not None and threads < 1:
        raise EngineError(f"threads must be at least 1, or None for the engine's own choice; got {threads}")
    row = ENGINES[name]
    if importlib.util.find_spec(row.needs) is None:
        raise EngineUnavailableError(f"the engine {name} needs {row.needs}, which is not installed: {row.how}")
    if b"location" in graph:
        # ONNX keeps strings literally, and only external data needs this word: older onnxruntime versions
        # would read any file that it names.
        raise EngineError("the graph refers to external data (it holds the word 'location'); build the bundle again")
    check_graph(graph)
    folder = None if cache_dir is None else Path(cache_dir)
    try:
        module = importlib.import_module(row.module)
        parameters = inspect.signature(module.load).parameters
        taken = [option for option in parameters if option not in _NO_OPTIONS]
        unknown = sorted(set(options) - set(taken))
        if unknown:
            raise EngineError(f"the engine {name} has no option {unknown}; it has {taken}")
        building = {"build": build, "stop": stop} if "build" in parameters else {}
        engine: Engine = module.load(graph, threads, cache_dir=folder, progress=progress, **building, **options)
    except ImportError as error:  # most engines import their package as they load, some only then in the right way
        if (error.name or "").startswith("edgetl_runtime"):
            raise  # a fault of ours is not a missing package
        raise EngineUnavailableError(f"{row.needs} is installed and does not load: {error}") from error
    except MemoryError as error:
        raise EngineError(f"{name} ran out of memory as it loaded the graph; stop other programs") from error
    except (OverflowError, TypeError, ValueError) as error:
        if not options:
            raise  # a fault of ours
        raise EngineError(f"the engine {name} does not take {options}: {error}") from error
    return engine


# What every `load` takes, and what those take that build; the rest are options.
_NO_OPTIONS = {"graph", "threads", "cache_dir", "progress", "build", "stop"}
