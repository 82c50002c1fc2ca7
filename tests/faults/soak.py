"""A long life in minutes: predictions, learnt samples and starts, with memory, descriptors, threads and disk sampled.

`python -m tests.faults.soak STATE BUNDLES PREDICTIONS LEARNS` prints one JSON object. What grows is measured by a
straight line through the samples after a tenth of the way, times the way that is left.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults import mutants, tiny
from tests.faults.ground import Ground
from tests.faults.tracing import REPO, python_path

__all__ = ["SoakOutcome", "soak"]

MEASURED = ("rss_bytes", "descriptors", "threads", "disk_bytes")
SAMPLES = 200
STARTS = 20  # the session is closed and opened again so often
QUOTA_BYTES = 4 << 20


@dataclass(frozen=True)
class SoakOutcome:
    """`growth` by what is measured: over the whole way after warm-up, by the fitted line; `error` its standard error.

    `first` and `last` are the medians of the first and last tenth after warm-up, `peak` the largest.
    """

    predictions: int
    learns: int
    starts: int
    seconds: float
    growth: dict[str, float]
    error: dict[str, float]
    first: dict[str, float]
    last: dict[str, float]
    peak: dict[str, float]
    quota_bytes: int


def soak(ground: Ground, predictions: int, learns: int, mutant: str = "") -> SoakOutcome:
    """That many predictions, with the learnt samples spread between them, in a process of its own."""
    state = ground.work / "soak"
    shutil.rmtree(state, ignore_errors=True)
    given = [str(state), str(ground.bundles), str(predictions), str(learns), *filter(None, [mutant])]
    command = [sys.executable, "-m", "tests.faults.soak", *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return _fitted(json.loads(done.stdout))


def _fitted(told: dict[str, Any]) -> SoakOutcome:
    rows = np.array(told["rows"], float)  # (N, 1 + measured): steps first
    rows = rows[len(rows) // 10 :]
    way = rows[:, 0] - rows[:, 0].mean()
    length = float(rows[-1, 0] - rows[0, 0])
    tenth = max(1, len(rows) // 10)
    growth, error, first, last, peak = {}, {}, {}, {}, {}
    for column, name in enumerate(MEASURED, 1):
        values = rows[:, column]
        slope = float(way @ (values - values.mean()) / (way @ way))
        left = values - values.mean() - slope * way
        growth[name] = slope * length
        error[name] = float(np.sqrt(left @ left / max(1, len(rows) - 2) / (way @ way))) * length
        first[name], last[name] = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
        peak[name] = float(values.max())
    done = (told["predictions"], told["learns"], told["starts"], told["seconds"])
    return SoakOutcome(*done, growth, error, first, last, peak, QUOTA_BYTES)


# -- in the process


def main(arguments: list[str]) -> None:
    state, bundles = Path(arguments[0]), Path(arguments[1])
    predictions, learns = int(arguments[2]), int(arguments[3])
    if len(arguments) > 4:
        mutants.MUTANTS[arguments[4]].apply()
    logging.disable(logging.CRITICAL)
    frames, labels = tiny.frames(512)
    every = max(1, predictions // max(1, learns))
    began = time.monotonic()
    rows, learnt, starts = [], 0, 0
    session = _opened(state, bundles / tiny.FIRST)
    for step in range(predictions):
        if step and step % max(1, predictions // STARTS) == 0:
            session.close()
            session = _opened(state, None)
            starts += 1
        session.predict(frames[step % len(frames)])
        if step % every == 0 and learnt < learns:
            number = learnt % len(frames)
            session.learn(frames[number], labels[number], source=f"hour {learnt % 50}")
            learnt += 1
        if step % max(1, predictions // SAMPLES) == 0:
            rows.append([step, *_measured(state)])
    session.close()
    seconds = time.monotonic() - began
    found = {"rows": rows, "predictions": predictions, "learns": learnt, "starts": starts, "seconds": seconds}
    print(json.dumps(found))


def _opened(state: Path, bundle: Path | None) -> Any:
    return tiny.opened(state, bundle, quota_bytes=QUOTA_BYTES)


def _measured(state: Path) -> list[int]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = len(list(Path("/proc/self/task").iterdir()))
    disk = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    return [pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threads, disk]


if __name__ == "__main__":
    main(sys.argv[1:])
