"""What every engine is held to, shipped so that an engine of your own can be: river's way (`river/checks`).

    from edgetl_runtime.engines import checks, open_engine
    for check in checks.yield_checks():
        check(lambda graph: open_engine("mine", graph))

Each check opens a tiny graph, raises AssertionError, and closes what it opened. The expected features are
computed here with NumPy, not by another engine.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.engines import Engine
from edgetl_runtime.errors import EngineError
from edgetl_runtime.types import TensorSpec

__all__ = [
    "INPUT",
    "OUTPUT",
    "TINY_GRAPH",
    "CheckResult",
    "Opener",
    "check_closing_twice_is_harmless_and_ends_it",
    "check_features_are_those_of_numpy",
    "check_it_says_what_it_takes_and_gives",
    "check_no_graph_is_an_error",
    "check_the_input_stays_and_results_are_not_written_over",
    "check_threads_may_share_it",
    "check_wrong_inputs_are_errors_and_the_next_run_works",
    "expected_features",
    "run_checks",
    "tiny_samples",
    "yield_checks",
]

Opener = Callable[[bytes], Engine]

INPUT = TensorSpec("image", "uint8", (1, 4, 5, 3))
OUTPUT = TensorSpec("features", "float32", (1, 4))
# Cast, Sub 127.5, Mul 1/127.5, Transpose, Conv 3x3 of four channels, Relu, GlobalAveragePool, Flatten; opset 17.
# tests/host/export/test_lint.py builds it anew from this description.
TINY_GRAPH = zlib.decompress(
    base64.b64decode(
        "eNp9Uz1ME2EYvq93heOFSHtWAzdA0i5yAxHxh5jeZ61GTIOJoImJaXK54oGE649316Ky4NDFpYsLDoYEB6fGxKUDdxocXHBwYnFhcYHBBQcX"
        "fb4qLCbm8uV97/3e53mf97lWVS+3eilD8aWyvehobF7vuWb7gXU2rYho9FEsqA6xDRajIWLzpJQdu6IxX4/fqZesibSMQMPEfIr787YLhrIe"
        "v1V3rXNpGYEmiJU1Fuj9dz274teqvmNNpvuOX4wkKTXHK+eknJxjudgG66XrxAJiK8RKGmtATrXSsM5DDqJxigaWHa/iuJb/0K45AMmAdFns"
        "Bz4Yuo9gSRFraMzTe+Yct25dSCsi0jgxT2OL+slpt1qy3asNx8Pat6tV17qYTv5TFP2Lmrrg2EHdc3y974ZrB4FTsS6le/+mRj8p9uMlv+uR"
        "pgRLlSdGQmUJlu9aVVAk6VfeSHYrfywqKM/WpKzxQVYVVRYPbthK4a0sSdL7zkg8am3X+eedHcTDrdVUm79cX4/Gii2zPb2H+ky0mhrnu5vf"
        "I/SEj8zn/HUtjICVEDneRd3EPUcf8hkOnMCH4EGtLXiz6OGYE2EeB/TKWHEwGm0u8+b+l4h2M+HHwzd8rvNKaDF/nPnKTbon6sAcRuALOyNN"
        "Xmxti9rWwWyHgz9CNEeb+/xgdioqtvJ8YeEb7jfDvacv+OTkO5FnU+1PmLcmNJg3935it2Hw2eDfFVpD9HAckZuoQbsdoYejV2BCYDk4BNcW"
        "ODm4RW5iFvTkoWGKQ4PQEkITtHSExiy0cmgW2k3wYEYmwk4cu4kdQ+zKsbPoNeEBOJbh2SD/3zcxhlVFfLtSISHsF7YLu4XN90eP/lGnKaXG"
        "tATFVIaj4MRx5JJOxz8r7QQNqExTj3ryCkmJ5G+Pp0uY"
    )
)
_WEIGHTS = (((np.arange(108) * 37) % 101 - 50) / 100).reshape(4, 3, 3, 3)
_BIAS = np.arange(4) / 10
_CLOSE = 1e-4  # of the largest feature: float32 in any order of summation, but neither bfloat16 nor TF32
_MOST_GROWTH_BYTES = 4 << 20


def tiny_samples(count: int, seed: int = 0) -> List[NDArray[np.uint8]]:
    """That many inputs (1, 4, 5, 3) uint8 for the tiny graph, always the same."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, INPUT.shape, dtype=np.uint8) for _ in range(count)]


def expected_features(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features (1, 4) of an input (1, 4, 5, 3) of the tiny graph, computed in float64."""
    normalised = (image[0].astype(np.float64) - 127.5) / 127.5
    padded = np.pad(normalised, ((1, 1), (1, 1), (0, 0)))
    rows, columns = image.shape[1:3]
    total = np.zeros(4)
    for y in range(rows):
        for x in range(columns):
            patch = padded[y : y + 3, x : x + 3].transpose(2, 0, 1)
            total += np.maximum((_WEIGHTS * patch).sum(axis=(1, 2, 3)) + _BIAS, 0)
    features: NDArray[np.float64] = (total / (rows * columns))[None]
    return features


def yield_checks(runs: int = 10_000) -> Iterator[Callable[[Opener], None]]:
    """Every check; `runs` is how often the one on memory runs the graph."""
    yield check_it_says_what_it_takes_and_gives
    yield check_features_are_those_of_numpy
    yield check_the_input_stays_and_results_are_not_written_over
    yield check_wrong_inputs_are_errors_and_the_next_run_works
    yield check_no_graph_is_an_error
    yield check_closing_twice_is_harmless_and_ends_it
    yield check_threads_may_share_it

    def check_memory_does_not_grow(opener: Opener) -> None:
        _check_memory(opener, runs)

    yield check_memory_does_not_grow


@dataclass(frozen=True)
class CheckResult:
    """How an engine did in one check: `complaint` is empty when it `passed`."""

    name: str
    passed: bool
    complaint: str
    seconds: float


def run_checks(opener: Opener, runs: int = 10_000) -> Tuple[CheckResult, ...]:
    """Every check on this machine, as records to keep: an engine that fails one, or raises in it, is not to be used."""
    results: List[CheckResult] = []
    for check in yield_checks(runs):
        start = time.monotonic()
        complaint = ""
        try:
            check(opener)
        except Exception as error:  # whatever an engine does wrong is what is asked for here
            complaint = f"{type(error).__name__}: {error}"
        results.append(CheckResult(check.__name__, not complaint, complaint, time.monotonic() - start))
    return tuple(results)


def check_it_says_what_it_takes_and_gives(opener: Opener) -> None:
    """Static specs of the graph, and a description with a version in it."""
    engine = opener(TINY_GRAPH)
    assert engine.inputs == (INPUT,), engine.inputs
    assert engine.outputs == (OUTPUT,), engine.outputs
    assert any(character.isdigit() for character in engine.description), engine.description
    engine.close()


def check_features_are_those_of_numpy(opener: Opener) -> None:
    """float32 features of the declared shape, in full float32 precision."""
    engine = opener(TINY_GRAPH)
    for image in tiny_samples(8):
        got, wanted = _run(engine, image), expected_features(image)
        assert got.dtype == np.float32 and got.shape == OUTPUT.shape, (got.dtype, got.shape)
        off = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        assert off <= _CLOSE, f"{engine.description}: features are off by {off:.1e}, {_CLOSE:g} is allowed"
    engine.close()


def check_the_input_stays_and_results_are_not_written_over(opener: Opener) -> None:
    """The caller's arrays are his: inputs are read only, results keep their values through later runs."""
    engine = opener(TINY_GRAPH)
    one, other = tiny_samples(2)
    kept = one.copy()
    first = _run(engine, one)
    values = first.copy()
    _run(engine, other)
    assert np.array_equal(one, kept), "the input was written to"
    assert np.array_equal(first, values), "a result was written over by a later run"
    one.setflags(write=False)
    assert np.array_equal(_run(engine, one), values), "the same input gave other bits"
    if hasattr(engine, "bare"):  # what a measurement compares with
        engine.bare({engine.inputs[0].name: one})()
    turned = np.asfortranarray(kept)
    assert np.array_equal(_run(engine, turned), values), "the order of the input in memory changed the result"
    engine.close()


def check_wrong_inputs_are_errors_and_the_next_run_works(opener: Opener) -> None:
    """Another name, shape, dtype or no array: EngineError, and no harm done."""
    engine = opener(TINY_GRAPH)
    (image,) = tiny_samples(1)
    before = _run(engine, image)
    wrong: Tuple[Dict[str, Any], ...] = (
        {},
        {"no such input": image},
        {INPUT.name: image, "another": image},
        {INPUT.name: image[0]},
        {INPUT.name: image[:, :2]},
        {INPUT.name: image.astype(np.float32)},
        {INPUT.name: image.astype(np.int8)},
        {INPUT.name: None},
        {INPUT.name: image.tolist()},
    )
    for tensors in wrong:
        _expect_error(lambda tensors=tensors: engine.run(tensors), f"{list(tensors)} was taken")  # type: ignore[misc]
    assert np.array_equal(_run(engine, image), before), "a wrong input changed what came after it"
    engine.close()


def check_no_graph_is_an_error(opener: Opener) -> None:
    """Bytes that are no graph, or only a part of one: EngineError."""
    for graph in (b"", b"rubbish", TINY_GRAPH[: len(TINY_GRAPH) // 2], bytes(1000)):
        _expect_error(lambda graph=graph: opener(graph), f"{len(graph)} bytes were taken for a graph")  # type: ignore[misc]


def check_closing_twice_is_harmless_and_ends_it(opener: Opener) -> None:
    """After `close` every run is an EngineError; closing again is nothing."""
    engine = opener(TINY_GRAPH)
    (image,) = tiny_samples(1)
    kept = _run(engine, image)
    values = kept.copy()
    engine.close()
    engine.close()
    assert np.array_equal(kept, values), "a result died with its engine"
    _expect_error(lambda: _run(engine, image), "a closed engine ran")


def check_threads_may_share_it(opener: Opener) -> None:
    """Four threads at once get the features of their own inputs."""
    engine = opener(TINY_GRAPH)
    images = tiny_samples(4)
    alone = [_run(engine, image).copy() for image in images]
    wrong: List[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(_run(engine, images[number]), alone[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"{len(wrong)} runs beside other threads gave other features"
    engine.close()


def _check_memory(opener: Opener, runs: int) -> None:
    """The process does not grow while it runs, by more than allocators wobble."""
    if not Path("/proc/self/statm").exists():
        return
    engine = opener(TINY_GRAPH)
    (image,) = tiny_samples(1)
    for _ in range(runs // 10):  # pools and caches fill first
        _run(engine, image)
    before = _resident_bytes()
    for _ in range(runs):
        _run(engine, image)
    grown = _resident_bytes() - before
    assert grown <= _MOST_GROWTH_BYTES, f"{grown} bytes more after {runs} runs"
    engine.close()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _run(engine: Engine, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = np.asarray(engine.run({INPUT.name: image})[OUTPUT.name])
    return features


def _expect_error(action: Callable[[], object], complaint: str) -> None:
    try:
        action()
    except EngineError:
        return
    raise AssertionError(complaint)
