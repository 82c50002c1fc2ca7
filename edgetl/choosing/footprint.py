"""What a graph costs on this machine: peak memory in a process of its own, latency in turns with the others."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from edgetl_runtime.board.memory import peak_rss_bytes
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import EngineError

__all__ = ["ENGINE", "peak_bytes"]

ENGINE = "onnxruntime"
_RUNS = 3


def peak_bytes(graph: bytes) -> int:
    """Most resident memory of a process that runs this graph with one thread; raises EngineError."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(graph)
        file.flush()
        command = [sys.executable, "-m", "edgetl.choosing.footprint", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise EngineError(f"the graph does not run in a process of its own: {said[-1] if said else done.returncode}")
    return int(json.loads(done.stdout)["peak_bytes"])


def _main(path: str) -> int:
    engine = open_engine(ENGINE, Path(path).read_bytes(), threads=1)
    spec = engine.inputs[0]
    for _ in range(_RUNS):
        engine.run({spec.name: np.zeros(spec.shape, spec.dtype)})
    sys.stdout.write(json.dumps({"peak_bytes": peak_rss_bytes()}))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
