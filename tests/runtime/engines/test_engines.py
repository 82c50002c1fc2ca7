"""The contract of an engine, over every row of the table: the golden graph gives the golden features."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from typing import Any, Dict, Iterator, List

import numpy as np
import pytest
from edgetl_runtime.bundle.members import GoldenSamples
from edgetl_runtime.engines import ENGINES, Engine, checks, open_engine
from edgetl_runtime.errors import EngineError, EngineUnavailableError

from tests.runtime import golden

MANIFEST = golden.bundle().manifest
VARIANT = MANIFEST.variants[0]
GRAPH = golden.bundle().members[VARIANT.extractor]
SAMPLES = GoldenSamples.unpack(
    golden.bundle().members["golden.safetensors"], "golden", {VARIANT.name: VARIANT.dim}, len(MANIFEST.classes)
)


@pytest.fixture(params=sorted(ENGINES))
def name(request: pytest.FixtureRequest) -> str:
    row = ENGINES[request.param]
    if importlib.util.find_spec(row.needs) is None:
        pytest.skip(f"{row.needs} is not installed: {row.how}")
    return str(request.param)


@pytest.fixture
def engine(name: str) -> Iterator[Engine]:
    loaded = open_engine(name, GRAPH, threads=1)
    yield loaded
    loaded.close()


def tensor(number: int = 0) -> Any:
    return MANIFEST.preprocess.apply(SAMPLES.samples[number])


def run(engine: Engine, value: Any) -> Any:
    return engine.run({engine.inputs[0].name: value})[VARIANT.features.name]


@pytest.mark.parametrize("check", list(checks.yield_checks()), ids=lambda check: str(check.__name__))
def test_it_keeps_the_contract(name: str, check: Any) -> None:
    check(lambda graph: open_engine(name, graph, threads=1))


def test_the_checks_can_be_kept_as_records_and_find_what_is_wrong(name: str) -> None:
    results = checks.run_checks(lambda graph: open_engine(name, graph, threads=1), runs=100)
    assert len(results) == len(list(checks.yield_checks())) and all(result.passed for result in results)

    class Careless:
        """Right features, and everything else wrong."""

        def __init__(self, graph: bytes) -> None:
            self._engine = open_engine(name, checks.TINY_GRAPH, threads=1)
            self.inputs, self.description = self._engine.inputs, "an engine without a version"
            self.outputs = self._engine.outputs
            self._result = np.zeros((1, 4), np.float32)
            self._kept: List[Any] = []

        def run(self, tensors: Any) -> Any:
            self._kept.append(np.ones(4096))
            image = next(iter(tensors.values()), np.zeros((1, 4, 5, 3), np.uint8))
            image = np.resize(np.asarray(image), (1, 4, 5, 3)).astype(np.uint8)
            np.copyto(self._result, self._engine.run({"image": image})["features"])
            return {"features": self._result}

        def close(self) -> None:
            pass

    failed = {result.name: result.complaint for result in checks.run_checks(Careless, runs=1000) if not result.passed}
    failed.pop("check_threads_may_share_it", None)  # it takes bad luck to be seen
    assert set(failed) == {
        "check_it_says_what_it_takes_and_gives",
        "check_the_input_stays_and_results_are_not_written_over",
        "check_wrong_inputs_are_errors_and_the_next_run_works",
        "check_no_graph_is_an_error",
        "check_closing_twice_is_harmless_and_ends_it",
        "check_memory_does_not_grow",
    }
    assert "bytes more after 1000 runs" in failed["check_memory_does_not_grow"]


def test_it_says_what_it_takes_gives_and_is(engine: Engine, name: str) -> None:
    assert engine.inputs == (VARIANT.input,)
    assert VARIANT.features in engine.outputs
    assert name in engine.description and any(character.isdigit() for character in engine.description)


def test_it_gives_the_golden_features(engine: Engine) -> None:
    expected = SAMPLES.features[VARIANT.name]
    got = np.concatenate([run(engine, tensor(i)) for i in range(len(SAMPLES.samples))])
    assert got.dtype == np.float32 and got.shape == expected.shape
    assert np.abs(got - expected).max() <= VARIANT.feature_tolerance * np.abs(expected).max()


def test_the_same_input_gives_the_same_bits_and_stays_as_it_was(engine: Engine) -> None:
    value = np.array(tensor())
    kept = value.copy()
    first = run(engine, value).copy()
    run(engine, tensor(1))
    assert np.array_equal(run(engine, value), first)
    assert np.array_equal(value, kept)
    value.setflags(write=False)
    assert np.array_equal(run(engine, value), first)


def test_results_of_earlier_runs_are_not_written_over(engine: Engine) -> None:
    first = run(engine, tensor(0))
    kept = first.copy()
    run(engine, tensor(1))
    assert np.array_equal(first, kept)


def test_a_wrong_input_is_an_engine_error_and_the_next_run_works(engine: Engine) -> None:
    good = tensor()
    wrong: List[Dict[str, Any]] = [
        {},
        {"no such input": good},
        {engine.inputs[0].name: good[:, :4]},
        {engine.inputs[0].name: good[0]},
        {engine.inputs[0].name: good.astype(np.float64)},
        {engine.inputs[0].name: None},
    ]
    expected = run(engine, good).copy()
    for tensors in wrong:
        with pytest.raises(EngineError):
            engine.run(tensors)
    assert np.array_equal(run(engine, good), expected)


def test_threads_may_share_it(engine: Engine) -> None:
    expected = [run(engine, tensor(i)).copy() for i in range(4)]
    wrong = []

    def work(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(run(engine, tensor(number)), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closed_it_says_so_and_closing_again_is_harmless(name: str) -> None:
    engine = open_engine(name, GRAPH)
    engine.close()
    engine.close()
    with pytest.raises(EngineError):
        run(engine, tensor())


@pytest.mark.parametrize("graph", [b"", b"rubbish", GRAPH[:500], b"\0" * 1000], ids=lambda graph: str(len(graph)))
def test_what_is_no_graph_is_refused(name: str, graph: bytes) -> None:
    with pytest.raises(EngineError):
        open_engine(name, graph)


def test_a_graph_that_could_name_another_file_is_refused(name: str) -> None:
    """Old onnxruntime read any file that external data named; the word stands literally in such a graph."""
    for graph in (GRAPH + b"location", b"location" + GRAPH, GRAPH[:100] + b"\x0a\x08location" + GRAPH[100:]):
        with pytest.raises(EngineError, match="external data"):
            open_engine(name, graph)


def test_threads_must_be_a_number_of_at_least_one(name: str) -> None:
    for threads in (0, -1):
        with pytest.raises(EngineError, match="threads"):
            open_engine(name, GRAPH, threads=threads)


def test_an_unknown_option_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(EngineError, match=rf"{name} has no option .*'devise'.*it has \['"):
        open_engine(name, GRAPH, devise="CPU")


def test_an_engine_that_builds_nothing_takes_and_ignores_a_folder(name: str, tmp_path: Any) -> None:
    if name == "tensorrt":
        pytest.skip("it builds: test_tensorrt.py")
    open_engine(name, GRAPH, cache_dir=tmp_path / "cache", progress=lambda phase, seconds: None).close()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_engine_is_named_with_those_there_are() -> None:
    with pytest.raises(EngineUnavailableError, match=r"'abacus'.*onnxruntime"):
        open_engine("abacus", GRAPH)


def test_a_missing_package_is_named_with_how_to_get_it() -> None:
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "from edgetl_runtime.engines import ENGINES, open_engine\n"
        "from edgetl_runtime.errors import EngineUnavailableError\n"
        "for name, row in ENGINES.items():\n"
        "    u.find_spec = lambda wanted, *a: None if wanted == row.needs else real(wanted, *a)\n"
        "    try: open_engine(name, b'')\n"
        "    except EngineUnavailableError as error: assert row.needs in str(error) and row.how in str(error), error\n"
        "    else: sys.exit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_there_and_does_not_load_is_told_apart(tmp_path: Any) -> None:
    for row in ENGINES.values():
        (tmp_path / f"{row.needs}.py").write_text("raise ImportError('libnothing.so.1: cannot open it')")
    (tmp_path / "graph.onnx").write_bytes(GRAPH)
    code = (
        "import sys; from edgetl_runtime.engines import ENGINES, open_engine\n"
        "from edgetl_runtime.errors import EngineUnavailableError\n"
        "for name in ENGINES:\n"
        "    try: open_engine(name, open(sys.argv[1], 'rb').read())\n"
        "    except EngineUnavailableError as error: assert 'libnothing' in str(error), error\n"
        "    else: sys.exit('no error')\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [sys.executable, "-c", code, str(tmp_path / "graph.onnx")]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONPATH": path})
