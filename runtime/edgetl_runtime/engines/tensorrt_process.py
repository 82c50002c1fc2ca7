"""Building a plan in a process of its own: it can be stopped, it may run out of memory, and it leaves none behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Optional

from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.engines.tensorrt_builder import BuildOptions, Built, PlanError
from edgetl_runtime.errors import EngineError

__all__ = ["build_in_process"]

_GRACE_S = 5.0
_LOOK_S = 0.2


def build_in_process(
    graph: bytes,
    options: BuildOptions,
    *,
    folder: Optional[Path] = None,
    timing: bytes = b"",
    progress: Optional[BuildProgress] = None,
    timeout_s: float = 1800.0,
    stop: Optional[threading.Event] = None,
    module: str = "tensorrt",
) -> Built:
    """`build_plan` with the module of that name, in another process of this interpreter.

    Its files lie under `folder` (None: the system's temporary folder) while it runs. Raises PlanError when
    TensorRT refuses the graph, EngineError when the build takes longer than `timeout_s`, crashes, is killed, or is
    ended by `stop`. It ends with this process too, and leaves the processor to whoever serves meanwhile.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="build-", dir=None if folder is None else str(folder)) as name:
        job = Path(name)
        (job / "graph.onnx").write_bytes(graph)
        (job / "timing").write_bytes(timing)
        facts = {"module": module, "options": options.facts(), "timeout_s": timeout_s, "parent": os.getpid()}
        (job / "job.json").write_text(json.dumps(facts), encoding="utf-8")
        code = _run(job, progress, timeout_s, stop)
        if code == 0:
            return Built((job / "plan").read_bytes(), (job / "timing").read_bytes(), time.monotonic() - start)
        if (job / "error.json").exists():
            fault = json.loads((job / "error.json").read_text(encoding="utf-8"))
            if not fault["refused"]:
                raise EngineError(fault["message"])
            raise PlanError(fault["message"], fault["node"], fault["op"])
        said = (job / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    if stop is not None and stop.is_set():
        raise EngineError("the build of the plan was stopped: whoever wanted it was closed")
    if code is None:
        raise EngineError(f"the plan was not built after {timeout_s:g} s and the build was stopped; allow more time")
    if code == -signal.SIGKILL:
        raise EngineError(
            "the build of the plan was killed, most likely for want of memory: stop other programs, add swap, or"
            " lower workspace_bytes"
        )
    why = f"signal {-code}" if code < 0 else f"exit {code}"
    raise EngineError(f"the build of the plan ended with {why}: {' '.join(said) or 'it said nothing'}")


def _run(
    job: Path, progress: Optional[BuildProgress], timeout_s: float, stop: Optional[threading.Event]
) -> Optional[int]:
    """The exit status, or None when it had to be stopped."""
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-m", "edgetl_runtime.engines.tensorrt_builder", str(job)]
    with (job / "stderr").open("wb") as errors, subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    ) as child:
        assert child.stdout is not None
        listener = threading.Thread(target=_listen, args=(child.stdout, progress), daemon=True)
        listener.start()
        # It stops itself where TensorRT can be stopped, which leaves a better message.
        last = time.monotonic() + timeout_s + _GRACE_S
        code: Optional[int] = None
        try:
            while code is None and time.monotonic() < last and not (stop is not None and stop.is_set()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = child.wait(min(_LOOK_S, max(0.0, last - time.monotonic())))
        finally:
            if child.poll() is None:
                child.kill()
        listener.join(_GRACE_S)
    return code


def _listen(lines: IO[bytes], progress: Optional[BuildProgress]) -> None:
    for line in lines:
        try:
            step = json.loads(line)
            phase, seconds = str(step["phase"]), float(step["seconds"])
        except (ValueError, KeyError, TypeError):
            continue  # something that TensorRT or a driver printed
        if progress is not None:
            progress(phase, seconds)
