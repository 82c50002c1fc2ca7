"""Which of several graphs is fastest on this host: in turns, so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgetl_runtime.engines import Engine
from numpy.typing import NDArray

__all__ = ["host_family", "interleaved_ms", "latencies_ms"]

_X86 = ("x86_64", "amd64")
_WARM_UPS = 3


def interleaved_ms(runs: Mapping[str, Callable[[], Any]], rounds: int = 12, repeat: int = 8) -> dict[str, float]:
    """Median latency in ms of each call, taken in turns over `rounds`, each `repeat` times in a row when warm."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            for number in range(_WARM_UPS + repeat):
                started = time.perf_counter()
                run()
                if number >= _WARM_UPS:
                    seconds[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def latencies_ms(engines: Mapping[str, Engine], tensor: NDArray[Any], rounds: int = 12) -> dict[str, float]:
    """Median latency in ms of each engine for one input tensor, batch 1."""

    def runner(engine: Engine) -> Callable[[], Any]:
        feed = {engine.inputs[0].name: tensor}
        return lambda: engine.run(feed)

    return interleaved_ms({name: runner(engine) for name, engine in engines.items()}, rounds)


def host_family() -> str:
    """ "x86" or "arm": what a speed that is measured here says something about."""
    return "x86" if platform.machine().lower() in _X86 else "arm"
