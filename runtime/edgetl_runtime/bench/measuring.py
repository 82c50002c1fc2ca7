"""One way to run a bundle, measured in this process: golden samples, latency, the runtime's share of it, memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.board import peak_rss_bytes, rss_bytes
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.members import GoldenSamples, HeadMember
from edgetl_runtime.engines import BuildProgress, Engine, open_engine
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.learner import Learner
from edgetl_runtime.outliers import OutlierScore
from edgetl_runtime.serving import Way, run_golden

__all__ = ["golden_frames", "measure_way"]

_WARM_UP = 10
_LONGEST_S = 60.0


def golden_frames(bundle: Bundle) -> Sequence[NDArray[Any]]:
    """The raw golden samples: real input for a measurement on a device that has no other."""
    manifest, name = bundle.manifest, "golden.safetensors"
    dims = {variant.name: variant.dim for variant in manifest.variants}
    return GoldenSamples.unpack(bundle.members[name], name, dims, len(manifest.classes)).samples


def measure_way(
    bundle: Bundle,
    way: Way,
    *,
    threads: Optional[int] = None,
    cache_dir: Optional[Path] = None,
    build: bool = False,
    progress: Optional[BuildProgress] = None,
    runs: int = 200,
    started: Optional[float] = None,
) -> Dict[str, Any]:
    """Plain figures of `runs` frames of one way; raises EngineError, BundleError.

    Times in milliseconds; p50 and p99 of the runtime's call beside the raw call of the engine's library, in turn, and
    the median of what the first takes longer than the second.
    `started` is when this process was started (`time.time()`), for the time to the first feature vector.
    """
    variant = way.variant
    loading = time.perf_counter()
    engine = open_engine(
        way.engine,
        bundle.members[variant.extractor],
        threads=threads,
        cache_dir=cache_dir,
        progress=progress,
        build=build,
        **way.options,
    )
    try:
        extractor = Extractor(engine, variant, bundle.manifest.preprocess)
        frames = golden_frames(bundle)
        tensors = [extractor.preprocess(frame) for frame in frames]
        load_s = time.perf_counter() - loading
        extractor.run(tensors[0])
        first_s = None if started is None else time.time() - started
        member = HeadMember.unpack(bundle.members[variant.head], variant.head, variant.feature_space, variant.dim)
        golden = run_golden(bundle, extractor, member, way.feature_tolerance)
        for i in range(_WARM_UP):
            extractor.run(tensors[i % len(tensors)])
        before = rss_bytes()
        ours, raw = _in_turn(extractor, engine, tensors, runs)
        grown = rss_bytes() - before
        fitted = Learner(member).fit()
        features = [extractor.run(tensor)[None] for tensor in tensors]
        return {
            "description": engine.description,
            "golden": {
                "passed": golden.passed,
                "max_rel": golden.max_rel,
                "allowed": golden.allowed,
                "decisions_differing": golden.differing,
                "samples": golden.samples,
            },
            "cold_start_s": first_s,
            "load_s": load_s,
            "p50_ms": _percentile(ours, 50),
            "p99_ms": _percentile(ours, 99),
            "frames_per_s": len(ours) / (sum(ours) / 1e3),
            "raw_p50_ms": _percentile(raw, 50) if raw else None,
            # Of each pair, one after the other: whatever else the machine does then falls on both.
            "overhead_pct": 100 * _percentile([a / b - 1 for a, b in zip(ours, raw)], 50) if raw else None,
            "preprocess_p50_ms": _timed(lambda i: extractor.preprocess(frames[i]), len(frames), 5),
            "decision_p50_ms": _timed(lambda i: _decide(fitted.head, fitted.outliers, features[i]), len(features), 5),
            "runs": len(ours),
            "grown_bytes": grown,
            "peak_rss_bytes": peak_rss_bytes(),
        }
    finally:
        engine.close()


def _in_turn(
    extractor: Extractor, engine: Engine, tensors: Sequence[NDArray[Any]], runs: int
) -> Tuple[List[float], List[float]]:
    """Milliseconds of the runtime's call and of the raw one, one after the other so that both see the same machine."""
    bare = getattr(engine, "bare", None)
    name = engine.inputs[0].name
    calls: List[Callable[[], object]] = [bare({name: tensor}) for tensor in tensors] if bare is not None else []
    ours: List[float] = []
    raw: List[float] = []
    last = time.monotonic() + _LONGEST_S
    while len(ours) < runs and (time.monotonic() < last or len(ours) < _WARM_UP):
        i = len(ours) % len(tensors)
        for mine in (True, False) if len(ours) % 2 else (False, True):
            start = time.perf_counter()
            if mine:
                extractor.run(tensors[i])
                ours.append((time.perf_counter() - start) * 1e3)
            elif calls:
                calls[i]()
                raw.append((time.perf_counter() - start) * 1e3)
    return ours, raw


def _decide(head: Any, outliers: OutlierScore, features: NDArray[np.float32]) -> None:
    head.predict_proba(features)
    outliers.score(features)


def _timed(call: Callable[[int], object], count: int, rounds: int) -> float:
    times = []
    for i in range(count * rounds):
        start = time.perf_counter()
        call(i % count)
        times.append((time.perf_counter() - start) * 1e3)
    return _percentile(times, 50)


def _percentile(times: Sequence[float], percent: float) -> float:
    return float(np.percentile(np.asarray(times), percent))
