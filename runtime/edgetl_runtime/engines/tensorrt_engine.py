"""TensorRT 8.5 (JetPack 5) to 11, as it comes with JetPack: the plan is built here, on the GPU that will run it."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.engines.cuda_memory import Cuda, load_cudart
from edgetl_runtime.engines.tensorrt_builder import BuildOptions, Built
from edgetl_runtime.engines.tensorrt_executor import TensorrtEngine, deserialize
from edgetl_runtime.engines.tensorrt_plans import PlanCache, plan_key
from edgetl_runtime.engines.tensorrt_process import build_in_process
from edgetl_runtime.errors import EngineError, EngineNotBuiltError, EngineUnavailableError

__all__ = ["load", "open_tensorrt"]

logger = logging.getLogger(__name__)

Builder = Callable[..., Built]
_OLDEST = (8, 5)
_BESIDE_WEIGHTS_BYTES = 64 << 20  # what CUDA and TensorRT take before the first weight


def load(
    graph: bytes,
    threads: Optional[int] = None,
    *,
    cache_dir: Optional[Path] = None,
    progress: Optional[BuildProgress] = None,
    build: bool = True,
    stop: Optional[threading.Event] = None,
    precision: str = "fp32",
    workspace_bytes: int = BuildOptions.workspace_bytes,
    tf32: bool = False,
    timeout_s: float = 1800.0,
) -> TensorrtEngine:
    """A plan for those bytes: the one in `cache_dir` when nothing differs, else built, for minutes, and kept there.

    `cache_dir` None builds at every start. `precision` ("fp32", "fp16", "int8") is what the graph holds by its
    own casts and Q/DQ nodes. The build runs in a process of its own for at most `timeout_s`, or until `stop`;
    without `build` a plan that is not there is an EngineNotBuiltError. `threads` is of no use on a GPU.
    """
    import tensorrt

    options = BuildOptions(precision=precision, workspace_bytes=workspace_bytes, tf32=tf32)
    return open_tensorrt(
        tensorrt,
        load_cudart(),
        graph,
        options,
        cache_dir=cache_dir,
        progress=progress,
        timeout_s=timeout_s,
        stop=stop,
        build=build_in_process if build else None,
    )


def open_tensorrt(
    trt: Any,
    cudart: Any,
    graph: bytes,
    options: BuildOptions,
    *,
    cache_dir: Optional[Path] = None,
    progress: Optional[BuildProgress] = None,
    timeout_s: float = 1800.0,
    stop: Optional[threading.Event] = None,
    build: Optional[Builder] = build_in_process,
) -> TensorrtEngine:
    """The same with the module `trt`, the CUDA library and the builder passed in; no builder, no build."""
    version = str(trt.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise EngineUnavailableError(f"TensorRT {version} is older than 8.5, the first with named tensors: JetPack 5")
    cuda = Cuda(cudart)
    try:
        sm = cuda.sm()
        key = plan_key(hashlib.sha256(graph).hexdigest(), version, sm, options)

        def make(cache: PlanCache) -> Built:
            if build is None:
                raise EngineNotBuiltError(
                    f"TensorRT {version} has no plan of this graph for this GPU; building it takes minutes:"
                    " edgetl-runtime install BUNDLE"
                )
            _check_room(cuda, graph, options, cache.folder)
            return build(
                graph,
                options,
                folder=cache.folder,
                timing=cache.load_timing(key),
                progress=progress,
                timeout_s=timeout_s,
                stop=stop,
            )

        if cache_dir is None:
            with tempfile.TemporaryDirectory(prefix="edgetl-plan-") as name:
                loaded = _plan(trt, key, PlanCache(Path(name)), make)
        else:
            loaded = _plan(trt, key, PlanCache(cache_dir), make)
        rounding = " tf32" if options.tf32 else ""
        return TensorrtEngine(trt, cuda, loaded, f"tensorrt {version} SM {sm} {options.precision}{rounding}")
    except BaseException:
        cuda.close()
        raise


def _plan(trt: Any, key: Dict[str, Any], cache: PlanCache, make: Callable[[PlanCache], Built]) -> Tuple[Any, Any]:
    """Runtime and engine of a plan of exactly that key, made when it is not there."""
    kept = cache.load_plan(key)
    if kept is not None:
        loaded = deserialize(trt, kept)
        if loaded is not None:
            return loaded
        cache.drop_plan(key, "TensorRT does not read it")
    built = make(cache)
    logger.info("TensorRT built the plan in %.1f s, %d bytes", built.seconds, len(built.plan))
    loaded = deserialize(trt, built.plan)
    if loaded is None:
        raise EngineError(
            f"TensorRT {trt.__version__} built a plan that it does not read: its libraries are of several versions, or"
            " the GPU is out of memory"
        )
    try:
        cache.keep_plan(key, built.plan)
        if built.timing:
            cache.keep_timing(key, built.timing)
    except EngineError as error:
        logger.warning("the plan serves now and will be built again at the next start: %s", error)
    return loaded


def _check_room(cuda: Cuda, graph: bytes, options: BuildOptions, folder: Path) -> None:
    """Before a build of minutes: weights are held as ONNX, as TensorRT's copy and in the plan, beside the workspace."""
    needed = 3 * len(graph) + options.workspace_bytes + _BESIDE_WEIGHTS_BYTES
    free = cuda.free_bytes()
    if cuda.shares_memory():
        # One reading is not to be trusted: before JetPack 7.2 CUDA counts the kernel's caches as taken.
        free = max(free, _available_bytes())
    if free < needed:
        raise EngineError(
            f"building the plan needs about {needed >> 20} MB of GPU memory and {free >> 20} MB are free: stop other"
            " programs, or lower workspace_bytes"
        )
    room = shutil.disk_usage(str(folder)).free
    if room < 4 * len(graph) + (16 << 20):
        raise EngineError(f"no room for the plan in {folder}: {room >> 20} MB are free; remove files")


def _available_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
