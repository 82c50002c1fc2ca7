"""An ONNX graph into a TensorRT plan, with TensorRT 8.5 to 11; the builder half of the engine `tensorrt`.

The module is passed in: `tensorrt` on a device, `tensorrt_rtx` on a host without GPU, which has the same
names and proves that the family parses and compiles a graph. Three things differ between versions and are
asked for by name: the flags of the network, the precision flags (before strong typing), progress reports.

Run as a program it builds in a process of its own: see `tensorrt_process`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.engines.tensorrt_log import listen
from edgetl_runtime.errors import EngineError

__all__ = ["BuildOptions", "Built", "PlanError", "build_plan"]

logger = logging.getLogger(__name__)

_PRECISIONS = ("fp32", "fp16", "int8")
_NICE = 10  # another engine may serve meanwhile


class PlanError(EngineError):
    """TensorRT refuses the graph; `node` and `op` name the node where it says so, else both are empty."""

    def __init__(self, message: str, node: str = "", op: str = "") -> None:
        super().__init__(message)
        self.node = node
        self.op = op


@dataclass(frozen=True)
class BuildOptions:
    """What a plan depends on beside graph, version and GPU; a part of the key under which it is kept.

    `precision` is what the graph holds by its own casts and Q/DQ nodes: versions before strong typing want to be
    told. `tf32` lets Ampere and later round float32 convolutions to 10 bits of mantissa. `targets` are compute
    capabilities ("SM86") to compile for without a GPU, which TensorRT for RTX alone can.
    """

    precision: str = "fp32"
    workspace_bytes: int = 256 << 20
    tf32: bool = False
    targets: Tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in _PRECISIONS:
            raise EngineError(f"precision must be one of {list(_PRECISIONS)}; got {self.precision!r}")
        if self.workspace_bytes < 0:
            raise EngineError(f"workspace_bytes must not be negative; got {self.workspace_bytes}")

    def facts(self) -> Dict[str, Any]:
        """The options as plain data, for a key or a file."""
        return {**asdict(self), "targets": list(self.targets)}


@dataclass(frozen=True)
class Built:
    """A plan, the timing cache that its build left, and how long it took."""

    plan: bytes = field(repr=False)
    timing: bytes = field(repr=False)
    seconds: float


def build_plan(
    trt: Any,
    graph: bytes,
    options: BuildOptions,
    *,
    timing: bytes = b"",
    progress: Optional[BuildProgress] = None,
    timeout_s: Optional[float] = None,
) -> Built:
    """Parse and build with the module `trt`; raises PlanError, and EngineError when it takes too long.

    `timing` is a timing cache of an earlier build by the same version on the same GPU. Versions before 10 report
    no progress and cannot be stopped: only a process of their own ends them.
    """
    start = time.monotonic()
    messages = listen(trt)
    builder = trt.Builder(messages)
    flags = 0
    kinds = trt.NetworkDefinitionCreationFlag
    strongly_typed = hasattr(kinds, "STRONGLY_TYPED")
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
        if hasattr(kinds, name):
            flags |= 1 << int(getattr(kinds, name))
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, messages)
    if not parser.parse(graph):
        raise _parse_error(trt, parser, messages.errors)
    config = builder.create_builder_config()
    _configure(trt, config, options, strongly_typed)
    if timing or not options.targets:  # TensorRT for RTX asks for a GPU here, and ignores the cache
        _offer_timing(config, timing)
    monitor = None
    if (progress is not None or timeout_s is not None) and hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(trt, progress, start, timeout_s)
        config.progress_monitor = monitor
    memory = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.late:
        raise EngineError(f"TensorRT {trt.__version__} had not built the plan after {timeout_s:g} s; it was stopped")
    if memory is None:
        raise _build_error(trt, network, messages.errors)
    cache = config.get_timing_cache() if not options.targets else None
    kept = bytes(cache.serialize()) if cache is not None else b""
    return Built(bytes(memory), kept, time.monotonic() - start)


def _configure(trt: Any, config: Any, options: BuildOptions, strongly_typed: bool) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if not strongly_typed:
        # Casts and Q/DQ of the graph are only obeyed where the precision is allowed.
        for name in {"fp32": (), "fp16": ("FP16",), "int8": ("FP16", "INT8")}[options.precision]:
            config.set_flag(getattr(trt.BuilderFlag, name))
    if options.targets:
        if not hasattr(config, "set_compute_capability"):
            raise EngineError(f"TensorRT {trt.__version__} builds for the GPU that it runs on, not for others")
        config.num_compute_capabilities = len(options.targets)
        for i, target in enumerate(options.targets):
            if not hasattr(trt.ComputeCapability, target):
                raise EngineError(f"TensorRT for RTX {trt.__version__} does not compile for {target}")
            config.set_compute_capability(getattr(trt.ComputeCapability, target), i)


def _offer_timing(config: Any, timing: bytes) -> None:
    cache = config.create_timing_cache(timing)
    if cache is None and timing:
        cache = config.create_timing_cache(b"")
    if cache is not None and not config.set_timing_cache(cache, False):
        logger.info("the timing cache does not fit this version or GPU; building without it")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _monitor(trt: Any, progress: Optional[BuildProgress], start: float, timeout_s: Optional[float]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Passes the phases on, and stops the build at its time limit."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.late = False

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            if progress is not None:
                progress(phase_name, time.monotonic() - start)

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.late = timeout_s is not None and time.monotonic() - start > timeout_s
            return not self.late

    return Monitor()


def _parse_error(trt: Any, parser: Any, said: List[str]) -> PlanError:
    if not parser.num_errors:
        return PlanError(f"TensorRT {trt.__version__} does not parse the graph: {' / '.join(said[-2:]) or 'no reason'}")
    fault = parser.get_error(parser.num_errors - 1)
    # Before 10 a fault knows its node by number only.
    node = str(fault.node_name()) if hasattr(fault, "node_name") else f"number {fault.node()}"
    op = str(fault.node_operator()) if hasattr(fault, "node_operator") else ""
    where = f"the node {op} {node!r}".replace("  ", " ") if node or op else "the graph"
    return PlanError(f"TensorRT {trt.__version__} does not parse {where}: {fault.desc()}", node, op)


def _build_error(trt: Any, network: Any, said: List[str]) -> PlanError:
    reason = " / ".join(said[-3:]) or "it gave no reason"
    names = [network.get_layer(i).name for i in range(network.num_layers)]
    node = max((name for name in names if name and name in reason), key=len, default="")
    where = f" the node {node!r}" if node else ""
    return PlanError(f"TensorRT {trt.__version__} does not compile{where or ' the graph'}: {reason}", node)


def _main(folder: Path) -> int:
    """Build what `folder` asks for (job.json, graph.onnx, timing) and leave plan or error.json there."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    os.nice(_NICE)
    threading.Thread(target=_end_with, args=(int(job["parent"]),), daemon=True).start()

    def progress(phase: str, seconds: float) -> None:
        sys.stdout.write(json.dumps({"phase": phase, "seconds": seconds}) + "\n")
        sys.stdout.flush()

    facts = job["options"]
    try:
        built = build_plan(
            importlib.import_module(job["module"]),
            (folder / "graph.onnx").read_bytes(),
            BuildOptions(**{**facts, "targets": tuple(facts["targets"])}),
            timing=(folder / "timing").read_bytes(),
            progress=progress,
            timeout_s=job["timeout_s"],
        )
    except (EngineError, ImportError) as error:
        fault = {
            "message": str(error),
            "refused": isinstance(error, PlanError),
            "node": getattr(error, "node", ""),
            "op": getattr(error, "op", ""),
        }
        (folder / "error.json").write_text(json.dumps(fault), encoding="utf-8")
        return 1
    (folder / "timing").write_bytes(built.timing)
    (folder / "plan").write_bytes(built.plan)
    return 0


def _end_with(parent: int) -> None:
    """Nobody waits for a plan whose asker is gone, and a build takes the memory of the next start."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
