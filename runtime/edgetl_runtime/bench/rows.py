"""Every variant in every engine that is here, each measured in a fresh process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from edgetl_runtime.board import BoardRow
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.manifest import Manifest
from edgetl_runtime.engines import ENGINES, BuildProgress
from edgetl_runtime.serving import Way, list_ways

__all__ = ["BenchRow", "bench_bundle", "bench_ways", "check_contract", "run_worker"]

_TIMEOUT_S = 3600.0  # a plan may have to be built


@dataclass(frozen=True)
class BenchRow:
    """One way, measured: milliseconds at batch 1 on `threads` threads, over `runs` frames.

    `p50_ms` and `p99_ms` are of the runtime's call from input tensor to checked features, `raw_p50_ms` of the bare
    call of the engine's library in turn with it, and `overhead_pct` by how much the first is longer, pair by pair.
    `cold_start_s` is from the start of the process to the first feature vector, `build_s` what had to be built
    before, once. `grown_bytes` is by how much the process grew over the frames, `peak_rss_bytes` its most. `golden`
    says how the golden samples did. With an `error` there are no figures.
    """

    variant: str
    precision: str
    engine: str
    options: Dict[str, Any]
    threads: Optional[int]
    error: str = ""
    description: str = ""
    golden: Dict[str, Any] = field(default_factory=dict)
    p50_ms: Optional[float] = None
    p99_ms: Optional[float] = None
    frames_per_s: Optional[float] = None
    raw_p50_ms: Optional[float] = None
    overhead_pct: Optional[float] = None
    preprocess_p50_ms: Optional[float] = None
    decision_p50_ms: Optional[float] = None
    cold_start_s: Optional[float] = None
    load_s: Optional[float] = None
    build_s: Optional[float] = None
    runs: int = 0
    grown_bytes: Optional[int] = None
    peak_rss_bytes: Optional[int] = None

    @property
    def passed(self) -> bool:
        """Whether it runs here and the golden samples agree."""
        return not self.error and bool(self.golden.get("passed"))


def bench_ways(
    manifest: Manifest, board: Optional[BoardRow] = None, engine: Optional[str] = None, variant: Optional[str] = None
) -> Tuple[Way, ...]:
    """Every variant in every engine whose package is here, or those of one engine or one variant."""
    here = [name for name, row in ENGINES.items() if importlib.util.find_spec(row.needs) is not None]
    ways: List[Way] = []
    for one in manifest.variants if variant is None else (manifest.variant(variant),):
        for name in here if engine is None else (engine,):
            ways += [way for way in list_ways(manifest, board, engine=name, variant=one.name) if way not in ways]
    return tuple(ways)


def bench_bundle(
    bundle: Bundle,
    path: Union[str, Path],
    ways: Tuple[Way, ...],
    *,
    threads: Optional[int] = None,
    runs: int = 200,
    cache_dir: Optional[Path] = None,
    progress: Optional[BuildProgress] = None,
) -> Iterator[BenchRow]:
    """The rows of `ways` of the bundle that was read and verified from `path`, one by one as they are measured.

    `cache_dir` is where engines are kept that must be built; None builds them into a folder that goes again.
    `progress` hears of such a build.
    """
    with tempfile.TemporaryDirectory(prefix="edgetl-bench-") as name:
        work = Path(name)
        for way in ways:
            job = {
                "what": "way",
                "bundle": str(Path(path).absolute()),
                "bundle_id": bundle.id,
                "variant": way.variant.name,
                "feature_tolerance": way.feature_tolerance,
                "engine": way.engine,
                "options": dict(way.options),
                "threads": threads,
                "runs": runs,
                "cache_dir": str(cache_dir if cache_dir is not None else work / "engines"),
                "build": False,
            }
            said, build_s = run_worker(work, job, None), None
            if said.get("kind") == "EngineNotBuiltError":
                # First alone: a start that is measured finds the engine built, as all but the very first do.
                start = time.monotonic()
                said = run_worker(work, {**job, "build": True, "runs": 1}, progress)
                build_s = time.monotonic() - start
                if "error" not in said:
                    said = run_worker(work, job, None)
            said.pop("kind", None)
            yield BenchRow(
                way.variant.name, way.variant.precision, way.engine, dict(way.options), threads, build_s=build_s, **said
            )


def check_contract(
    engine: str, options: Mapping[str, Any], threads: Optional[int], cache_dir: Optional[Path], runs: int = 1000
) -> Dict[str, Any]:
    """The checks that every engine is held to, on this machine, in a process of their own: plain data."""
    with tempfile.TemporaryDirectory(prefix="edgetl-bench-") as name:
        job = {
            "what": "contract",
            "engine": engine,
            "options": dict(options),
            "threads": threads,
            "cache_dir": str(cache_dir if cache_dir is not None else Path(name) / "engines"),
            "runs": runs,
        }
        return run_worker(Path(name), job, None)


def run_worker(folder: Path, job: Mapping[str, Any], progress: Optional[BuildProgress]) -> Dict[str, Any]:
    """What a worker says of a job; {"error", "kind"} where it ended without a word."""
    task, answer = folder / "job.json", folder / "answer.json"
    if answer.exists():
        answer.unlink()
    paths = os.pathsep.join(part for part in sys.path if part)
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    task.write_text(json.dumps({**job, "started": time.time()}), encoding="utf-8")
    command = [sys.executable, "-m", "edgetl_runtime.bench.worker", str(task), str(answer)]
    with (folder / "stderr").open("wb") as errors, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
    ) as child:
        assert child.stdout is not None
        listener = threading.Thread(target=_listen, args=(child.stdout, progress), daemon=True)
        listener.start()
        try:
            code = child.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return {"error": f"not done after {_TIMEOUT_S:.0f} s", "kind": "EngineError"}
        listener.join(5.0)
    if answer.exists():
        said: Dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return said
    last = (folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    how = f"signal {-code}" if code < 0 else f"exit {code}"
    return {"error": f"its process ended with {how}: {' '.join(last) or 'it said nothing'}", "kind": "EngineError"}


def _listen(lines: IO[bytes], progress: Optional[BuildProgress]) -> None:
    for line in lines:
        try:
            step = json.loads(line)
            phase, seconds = str(step["phase"]), float(step["seconds"])
        except (ValueError, KeyError, TypeError):
            continue
        if progress is not None:
            progress(phase, seconds)
