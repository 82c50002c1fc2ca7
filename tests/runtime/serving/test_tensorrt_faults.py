"""Whatever happens to TensorRT or its plan, a session serves right features or says what is wrong.

TensorRT is the double with the names of its bindings; plan, cache, build and change-over are the real ones.
"""

from __future__ import annotations

import importlib.machinery
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import pytest
from edgetl_runtime.engines.tensorrt_plans import PlanCache
from edgetl_runtime.errors import BundleParityError, EngineError
from edgetl_runtime.session import Session

from tests.runtime import golden
from tests.runtime.engines.opened_tensorrt import Builds
from tests.runtime.engines.tensorrt_double import VERSIONS, CudaDouble, tensorrt
from tests.runtime.engines.test_tensorrt_plans import HARM, plan_of
from tests.runtime.serving import bundles
from tests.runtime.serving.bundles import BOARD, plan, two_variants

FRAMES = golden.frames()


class Board:
    """A Jetson whose TensorRT is a double."""

    def __init__(self, tmp_path: Path, monkeypatch: Any) -> None:
        self.root, self.state, self.folder = bundles.orin(tmp_path / "root"), tmp_path / "state", tmp_path
        self.monkeypatch = monkeypatch
        self.cuda = CudaDouble()
        self.install("10.3")

    def install(self, version: str, build: Optional[Callable[..., Any]] = None, **behaviour: Any) -> Builds:
        trt = tensorrt(version, **behaviour)
        trt.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        self.builds = Builds(trt)
        self.monkeypatch.setitem(sys.modules, "tensorrt", trt)
        here = "edgetl_runtime.engines.tensorrt_engine"
        self.monkeypatch.setattr(f"{here}.load_cudart", lambda: self.cuda)
        self.monkeypatch.setattr(f"{here}.build_in_process", build or self.builds)
        return self.builds

    def open(self, **options: Any) -> Session:
        plans = {
            BOARD: plan(("other", "tensorrt", {"workspace_bytes": 1 << 20}), ("other", "onnxruntime")),
            "any": plan(("other", "onnxruntime")),
        }
        bundle = two_variants(self.folder / "x.edgetl", plans)
        options.setdefault("build", "wait")
        return golden.opened(self.state, bundle, board_root=self.root, **options)

    def serves(self, engine: str, says: str = "", **options: Any) -> None:
        """It serves by that engine, right, and says this of the one it refused."""
        with self.open(**options) as session:
            status = session.status()
            assert status["engine"].startswith(engine), status
            refused = status["engines_refused"]
            assert len(refused) == (1 if says else 0) and all(says in words for words in refused), refused
            with golden.opened(self.folder / "expected", engine="onnxruntime") as other:
                for frame in FRAMES[:5]:
                    assert np.allclose(session.features(frame), other.features(frame), atol=1e-3)
        assert self.cuda.memory == {} and self.cuda.streams == {}


@pytest.fixture
def board(tmp_path: Path, monkeypatch: Any) -> Board:
    return Board(tmp_path, monkeypatch)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_once_serves_and_serves_again(version: str, board: Board) -> None:
    builds = board.install(version)
    board.serves(f"tensorrt {version}")
    board.serves(f"tensorrt {version}", build="never")
    assert builds.count == 1


def test_a_plan_of_another_gpu_or_version_is_built_anew(board: Board) -> None:
    board.serves("tensorrt 10.3")
    board.cuda = CudaDouble("11.0")
    board.serves("tensorrt 10.3.0 SM 11.0")
    assert board.builds.count == 2
    builds = board.install("10.16")
    board.serves("tensorrt 10.16.0 SM 11.0")
    assert builds.count == 1


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: str(harm.__name__))
def test_a_harmed_plan_is_built_anew_or_done_without(harm: Any, board: Board) -> None:
    board.serves("tensorrt 10.3")
    harm(plan_of(board.state / "engines"))
    if harm.__name__ not in ("link", "share"):  # what those leave behind stays harmed
        board.serves("onnxruntime", "building it takes minutes", build="never")
    board.serves("tensorrt 10.3")
    assert board.builds.count == 2


def test_a_foreign_plan_under_the_right_name_and_hash_is_not_read_twice(board: Board) -> None:
    """Deserialising gives None where TensorRT itself finds that a plan is not its own."""
    board.serves("tensorrt 10.3")
    board.install("10.3", unreadable=1)
    board.serves("tensorrt 10.3")
    board.install("10.3", unreadable=99)
    board.serves("onnxruntime", "does not read")


def killed(*_: Any, **__: Any) -> Any:
    raise EngineError("the build of the plan was killed, most likely for want of memory")


def no_memory(logger: Any) -> None:
    logger.log(logger.ERROR, "Cuda Runtime (out of memory)")


FAULTS: Dict[str, Any] = {
    "the build is killed for want of memory": (lambda board: board.install("10.3", build=killed), "want of memory"),
    "too little GPU memory": (lambda board: setattr(board, "cuda", CudaDouble(free_bytes=1 << 20)), "are free"),
    "no memory for buffers": (lambda board: board.cuda.fail.add("cudaMalloc"), "out of memory"),
    "no device": (lambda board: board.cuda.fail.add("cudaStreamCreate"), "cudaStreamCreate failed"),
    "no memory for a context": (lambda board: board.install("10.3", no_context=True), "execution context"),
    "it does not run": (lambda board: board.install("10.3", execution_fails=True), "could not run"),
    "it is too old": (lambda board: setattr(sys.modules["tensorrt"], "__version__", "8.4.1"), "older than 8.5"),
    "it is not installed": (lambda board: board.monkeypatch.setitem(sys.modules, "tensorrt", None), "not installed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tensorrt_that_fails_is_said_and_onnxruntime_serves(fault: str, board: Board) -> None:
    harm, says = FAULTS[fault]
    harm(board)
    board.serves("onnxruntime", says)


def test_a_build_that_tensorrt_refuses_is_said_with_its_own_words(board: Board, monkeypatch: Any) -> None:
    refusing = tensorrt("10.3", build=no_memory)
    monkeypatch.setattr("edgetl_runtime.engines.tensorrt_engine.build_in_process", Builds(refusing))
    board.serves("onnxruntime", "Cuda Runtime (out of memory)")


def test_no_room_for_the_plan(board: Board, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "edgetl_runtime.engines.tensorrt_engine.shutil.disk_usage", lambda folder: type("U", (), {"free": 1 << 20})()
    )
    board.serves("onnxruntime", "no room for the plan")


def test_a_disk_that_fills_as_the_plan_is_kept_costs_a_build_only(board: Board, monkeypatch: Any) -> None:
    def full(self: Any, name: str, contents: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PlanCache, "_write", full)
    board.serves("tensorrt 10.3")
    board.serves("tensorrt 10.3")
    assert board.builds.count == 2


def test_a_plan_that_computes_otherwise_never_serves(board: Board) -> None:
    """What TF32, or a plan of another graph that nobody noticed, would be: right shape, wrong features."""

    trt = sys.modules["tensorrt"]
    runtime = trt.Runtime

    class Crooked:
        def __init__(self, logger: Any) -> None:
            self._runtime = runtime(logger)

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            engine = self._runtime.deserialize_cuda_engine(plan)
            session = engine._session
            engine._session = Bent(session)
            return engine

    class Bent:
        def __init__(self, session: Any) -> None:
            self.get_inputs, self.get_outputs, self._run = session.get_inputs, session.get_outputs, session.run

        def run(self, names: Any, feeds: Any) -> List[Any]:
            return [np.asarray(value * np.float32(1.05)) for value in self._run(names, feeds)]

    trt.Runtime = Crooked  # type: ignore[attr-defined]
    board.serves("onnxruntime", "off by")
    with pytest.raises(BundleParityError, match="off by"):
        board.open(engine="tensorrt")


def test_it_serves_by_onnxruntime_while_the_plan_is_built(board: Board) -> None:
    go = threading.Event()

    def slowly(*arguments: Any, **more: Any) -> Any:
        more["progress"]("Building engine", 3.0)
        assert go.wait(60)
        return board.builds(*arguments, **more)

    board.install("10.3", build=slowly)
    with board.open(build="background") as session:
        status = session.status()
        assert status["engine"].startswith("onnxruntime ") and status["building"]["way"].startswith("other in tensorrt")
        assert session.predict(FRAMES[0]).label
        go.set()
        companion: Any = session._extractor.companion
        assert companion.wait(60)
        assert session.status()["engine"] == "tensorrt 10.3.0 SM 8.7 fp32"
        assert session.predict(FRAMES[0]).label
    assert board.cuda.memory == {} and board.cuda.streams == {}


def test_a_provider_that_is_missing_is_said_and_the_next_way_serves(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    rows = plan(("other", "onnxruntime", {"provider": "cuda"}), ("other", "onnxruntime"))
    with golden.opened(tmp_path / "state", two_variants(tmp_path / "x.edgetl", {"any": rows})) as session:
        status = session.status()
        assert "built without CUDAExecutionProvider" in status["engines_refused"][0]
        assert status["engine"].endswith("CPUExecutionProvider")
