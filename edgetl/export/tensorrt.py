"""TensorRT on a host that has none: does the family take this graph, and what does a Jetson need to build it?

A plan is built on the device that runs it and never shipped: it fits one TensorRT version and one GPU, and it
is executable code. What can be known before is whether the graph parses and compiles; TensorRT for RTX
(`tensorrt_rtx`) has the same parser and compiler, and compiles ahead of time without a GPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from edgetl_runtime.engines.tensorrt_builder import BuildOptions, PlanError
from edgetl_runtime.engines.tensorrt_plans import plan_key
from edgetl_runtime.engines.tensorrt_process import build_in_process
from edgetl_runtime.errors import EngineError

from edgetl.errors import ExportError, MissingPackageError
from edgetl.profiles import load_jetpacks, load_profiles

__all__ = ["AheadOfTime", "BuildRecipe", "build_recipe", "check_ahead_of_time", "files"]

# The nearest relative of Orin's SM87 that TensorRT for RTX compiles for; it knows neither SM72, SM87 nor SM110.
STAND_IN = "SM86"
_MODULE = "tensorrt_rtx"
_OLDEST = (8, 5)  # the first that the runtime speaks to


@dataclass(frozen=True)
class AheadOfTime:
    """A graph that TensorRT for RTX of `version` parsed and compiled for `target`, into `plan_bytes`, in `seconds`.

    It proves that the TensorRT family takes the graph; the plan itself is of no use on a Jetson and is not kept.
    """

    version: str
    target: str
    plan_bytes: int
    seconds: float


@dataclass(frozen=True)
class BuildRecipe:
    """What a board needs to build the plan of a graph by hand, and what its plan is known by.

    `trtexec` is the command line, `options` those of the runtime's own builder, `key` what the runtime hashes into
    the name of the cached plan.
    """

    trtexec: str
    options: dict[str, Any]
    key: dict[str, Any]


def check_ahead_of_time(graph: bytes, precision: str = "fp32", timeout_s: float = 900.0) -> AheadOfTime:
    """Parse and compile the graph with TensorRT for RTX, no GPU needed, in a process of its own.

    Raises ExportError that names the offending node when it does not, MissingPackageError without the package.
    """
    if importlib.util.find_spec(_MODULE) is None:
        raise MissingPackageError(
            f"the check that TensorRT takes the graph needs {_MODULE}: pip install 'edgetl[tensorrt-rtx]'"
        )
    options = BuildOptions(precision=precision, targets=(STAND_IN,))
    try:
        built = build_in_process(graph, options, timeout_s=timeout_s, module=_MODULE)
    except PlanError as error:
        what = f"at the node {error.op} {error.node!r}".replace("  ", " ") if error.node else "as a whole"
        raise ExportError(f"TensorRT would refuse this graph {what}: {error}") from error
    except EngineError as error:
        raise ExportError(f"TensorRT could not be asked about this graph: {error}") from error
    return AheadOfTime(_version(), STAND_IN, len(built.plan), built.seconds)


def build_recipe(
    graph: bytes,
    tensorrt_version: str,
    sm: str,
    *,
    precision: str = "fp32",
    workspace_bytes: int = BuildOptions.workspace_bytes,
    file_name: str = "extractor.onnx",
) -> BuildRecipe:
    """How a board with that TensorRT ("10.3.0") and GPU ("8.7") builds the plan of `graph`, saved as `file_name`."""
    options = BuildOptions(precision=precision, workspace_bytes=workspace_bytes)
    major, minor = (int(part) for part in tensorrt_version.split(".")[:2])
    words = ["trtexec", f"--onnx={file_name}", f"--saveEngine={file_name.rpartition('.')[0] or file_name}.plan"]
    words += [f"--memPoolSize=workspace:{workspace_bytes >> 20}", "--noTF32", "--timingCacheFile=timing.cache"]
    if (major, minor) < (10, 0):
        words += {"fp32": [], "fp16": ["--fp16"], "int8": ["--fp16", "--int8"]}[precision]
    elif major < 11:
        words.append("--stronglyTyped")
    key = plan_key(hashlib.sha256(graph).hexdigest(), tensorrt_version, sm, options)
    return BuildRecipe(shlex.join(words), options.facts(), key)


def files(graph: bytes) -> dict[str, bytes]:
    """The graph, and how every JetPack builds its plan for the GPUs that it runs on: `trtexec` line, options, key."""
    precision = _precision(graph)
    recipes = []
    for jetpack in load_jetpacks():
        if jetpack.tensorrt is None or tuple(int(part) for part in jetpack.tensorrt.value.split(".")[:2]) < _OLDEST:
            continue
        boards = [p for p in load_profiles() if p.sm and p.jetpacks and jetpack.name in p.jetpacks.value]
        for sm in sorted({board.sm.value for board in boards if board.sm}):
            recipe = build_recipe(graph, jetpack.tensorrt.value, sm, precision=precision)
            devices = [board.id for board in boards if board.sm and board.sm.value == sm]
            recipes.append({"jetpack": jetpack.name, "sm": sm, "devices": devices, **asdict(recipe)})
    return {".onnx": graph, ".tensorrt.json": json.dumps(recipes, indent=1).encode()}


def _precision(graph: bytes) -> str:
    """What the graph holds: quantized layers, else halves, else float32."""
    import onnx

    model = onnx.ModelProto.FromString(graph)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(weights.data_type == onnx.TensorProto.FLOAT16 for weights in model.graph.initializer)
    return "fp16" if half else "fp32"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(_MODULE)
    except PackageNotFoundError:  # vendored, without metadata
        return "unknown"
