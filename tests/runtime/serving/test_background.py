"""Serving goes on while an engine is built for minutes, and changes over between two frames, if it is right."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pytest
from edgetl_runtime.cli import main
from edgetl_runtime.errors import EngineError, EngineNotBuiltError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.session import Session

from tests.runtime import golden
from tests.runtime.serving import bundles
from tests.runtime.serving.bundles import BOARD, FIRST, Double, fixed, plan, register, two_variants

FRAMES, LABELS = golden.frames(), golden.labels()
MOST_S = 60.0


class Slow:
    """An engine that is built when the test lets it: the plan of a TensorRT, without TensorRT."""

    def __init__(self, monkeypatch: Any, name: str = "slow") -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.built = False
        self.error: Optional[Exception] = None
        self.change: Any = lambda features: features
        self.opened: List[Double] = []
        self.stopped = False
        register(monkeypatch, name, self.load)

    def load(
        self,
        graph: bytes,
        threads: Any,
        *,
        cache_dir: Any = None,
        progress: Any = None,
        build: bool = True,
        stop: Any = None,
    ) -> Any:
        if not self.built:
            if not build:
                raise EngineNotBuiltError("slow is not built yet")
            self.asked.set()
            if progress is not None:
                progress("thinking", 1.0)
            while not self.go.wait(0.01):
                if stop is not None and stop.is_set():
                    self.stopped = True
                    raise EngineError("stopped")
            if self.error is not None:
                raise self.error
            self.built = True
        self.opened.append(Double(graph, "slow 1.0", self.change))
        return self.opened[-1]


@pytest.fixture
def slow(monkeypatch: Any) -> Slow:
    return Slow(monkeypatch)


def opened(tmp_path: Path, *rows: Any, **options: Any) -> Session:
    rows = rows or (("other", "slow"), (FIRST.name, "onnxruntime"))
    bundle = two_variants(tmp_path / "x.edgetl", {BOARD: plan(*rows), "any": plan((FIRST.name, "onnxruntime"))})
    return golden.opened(tmp_path / "state", bundle, board_root=bundles.orin(tmp_path / "root"), **options)


def wait(session: Session) -> Dict[str, Any]:
    companion: Any = session._extractor.companion
    assert companion.wait(MOST_S)
    return session.status()


def test_it_serves_while_it_builds_and_changes_over_when_the_golden_samples_pass(tmp_path: Path, slow: Slow) -> None:
    with opened(tmp_path) as session:
        assert slow.asked.wait(MOST_S)
        status = session.status()
        assert status["variant"] == "other" and status["engine"].startswith("onnxruntime ")
        assert status["building"]["way"] == "other in slow" and status["building"]["phase"] == "thinking"
        assert status["building"]["seconds"] >= 0 and status["engines_refused"] == []
        before = session.features(FRAMES[0])
        session.learn_many(FRAMES[:5], LABELS[:5])
        slow.go.set()
        status = wait(session)
        assert status["engine"] == "slow 1.0" and status["building"] is None and status["engines_refused"] == []
        assert np.allclose(session.features(FRAMES[0]), before) and status["learnt_samples"] == 5
    assert slow.opened[0].closed == 1
    with opened(tmp_path) as session:  # built: nothing stands in any more
        assert session.status()["engine"] == "slow 1.0" and session.status()["building"] is None


def test_what_was_built_and_computes_wrongly_never_serves(tmp_path: Path, slow: Slow) -> None:
    slow.change = lambda features: features * np.float32(1.05)
    with opened(tmp_path) as session:
        before = session.features(FRAMES[0])
        slow.go.set()
        status = wait(session)
        assert status["engine"].startswith("onnxruntime ") and status["building"] is None
        (words,) = status["engines_refused"]
        assert words.startswith("other in slow: ") and "off by" in words
        assert np.array_equal(session.features(FRAMES[0]), before)
        assert slow.opened[0].closed == 1


@pytest.mark.parametrize("error", [EngineError("killed for want of memory"), ValueError("a bug")])
def test_a_build_that_fails_leaves_what_serves(tmp_path: Path, slow: Slow, error: Exception) -> None:
    slow.error = error
    slow.go.set()
    with opened(tmp_path) as session:
        status = wait(session)
        assert status["engine"].startswith("onnxruntime ") and str(error) in status["engines_refused"][0]
        assert session.predict(FRAMES[0]).label


def test_closing_ends_the_build(tmp_path: Path, slow: Slow) -> None:
    session = opened(tmp_path)
    assert slow.asked.wait(MOST_S)
    session.close()
    session.close()
    assert slow.stopped and slow.opened == []
    assert not [thread for thread in threading.enumerate() if thread.name == "edgetl-build-slow"]


def test_what_is_built_as_the_session_closes_is_closed_too(tmp_path: Path, slow: Slow) -> None:
    for _ in range(5):
        slow.built = False
        slow.go.clear()
        session = opened(tmp_path)
        assert slow.asked.wait(MOST_S)
        slow.go.set()
        session.close()
        assert all(engine.closed for engine in slow.opened)
        slow.asked.clear()


def test_waiting_for_it_tells_of_its_progress(tmp_path: Path, slow: Slow) -> None:
    slow.go.set()
    heard: List[str] = []
    with opened(tmp_path, build="wait", progress=lambda phase, seconds: heard.append(phase)) as session:
        assert session.status()["engine"] == "slow 1.0" and session.status()["building"] is None
    assert heard == ["thinking"]


def test_who_may_not_build_takes_the_next_and_says_why(tmp_path: Path, slow: Slow) -> None:
    with opened(tmp_path, build="never") as session:
        status = session.status()
        assert status["variant"] == FIRST.name and "not built yet" in status["engines_refused"][0]
    with pytest.raises(EngineNotBuiltError):
        opened(tmp_path, build="never", engine="slow")
    with pytest.raises(EngineError, match="'background', 'wait', 'never'"):
        opened(tmp_path, build="later")
    assert not slow.asked.is_set()


def test_the_way_of_the_plan_with_the_same_features_stands_in(tmp_path: Path, slow: Slow, monkeypatch: Any) -> None:
    fixed(monkeypatch, "bad", lambda features: features * 0)
    fixed(monkeypatch, "spare")
    rows = (("other", "slow"), (FIRST.name, "onnxruntime"), ("other", "bad"), ("other", "spare"))
    with opened(tmp_path, *rows) as session:
        status = session.status()
        assert (status["variant"], status["engine"]) == ("other", "spare 1.0")
        assert [words.split(":")[0] for words in status["engines_refused"]] == ["other in bad"]
        slow.go.set()
        assert wait(session)["engine"] == "slow 1.0"


def test_where_nothing_can_stand_in_it_waits(tmp_path: Path, slow: Slow, monkeypatch: Any) -> None:
    fixed(monkeypatch, "bad", lambda features: features * 0)
    slow.go.set()
    with opened(tmp_path, ("other", "slow"), ("other", "bad"), (FIRST.name, "onnxruntime")) as session:
        assert session.status()["engine"] == "slow 1.0"


def test_an_engine_of_the_users_own_is_waited_for_and_its_failure_is_an_error(tmp_path: Path, slow: Slow) -> None:
    slow.go.set()
    slow.error = EngineError("killed for want of memory")
    with pytest.raises(EngineError, match="want of memory"):
        opened(tmp_path, engine="slow")
    slow.error = None
    with opened(tmp_path, engine="slow") as session:
        assert session.status()["engine"] == "slow 1.0" and session.status()["building"] is None


def test_the_command_to_install_waits_and_tells_unless_told_not_to(tmp_path: Path, slow: Slow, capsys: Any) -> None:
    slow.go.set()
    rows = plan(("other", "slow"), ("other", "onnxruntime"))
    bundle = str(two_variants(tmp_path / "x.edgetl", {"any": rows}))
    more = ["--state", str(tmp_path / "state"), "--allow-unsigned"]
    assert main(["install", bundle, "--no-build", *more]) == 0
    said = capsys.readouterr()
    assert "other in onnxruntime" in said.out and "not used: other in slow: slow is not built yet" in said.out
    assert said.err.count("building") == 0 and not slow.asked.is_set()
    assert main(["install", bundle, *more]) == 0
    said = capsys.readouterr()
    assert "other in slow 1.0" in said.out and "not used" not in said.out
    assert said.err.count("building the engine: thinking, 1 s") == 1
    assert main(["status", *more]) == 0 and "other in slow 1.0" in capsys.readouterr().out


class Constant:
    """Every feature is one number, slowly, so that a change in the middle of a frame would show."""

    def __init__(self, value: float) -> None:
        self.inputs, self.outputs = (FIRST.input,), (FIRST.features,)
        self.description = f"constant {value}"
        self.value, self.running, self.closed_under = value, 0, 0
        self.closed = False

    def run(self, tensors: Any) -> Any:
        assert not self.closed
        result = np.zeros(FIRST.features.shape, np.float32)
        for i in range(result.shape[1]):
            result[0, i] = self.value
            if self.closed:
                self.closed_under += 1
        return {FIRST.features.name: result}

    def close(self) -> None:
        self.closed = True


def test_a_change_over_is_never_half_way_through_a_frame() -> None:
    tensor = golden.bundle().manifest.preprocess.apply(FRAMES[0])
    engines = [Constant(float(i)) for i in range(200)]
    extractor = Extractor(engines[0], FIRST, golden.bundle().manifest.preprocess)  # type: ignore[arg-type]
    mixed: List[Any] = []
    errors: List[BaseException] = []
    stop = threading.Event()

    def predict() -> None:
        try:
            while not stop.is_set():
                features = extractor.run(tensor)
                if len(set(features.tolist())) != 1:
                    mixed.append(features)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for engine in engines[1:]:
        extractor.replace(engine)  # type: ignore[arg-type]
    stop.set()
    for thread in threads:
        thread.join()
    assert mixed == [] and errors == []
    assert not any(engine.closed_under for engine in engines)
    assert all(engine.closed for engine in engines[:-1]) and not engines[-1].closed
    extractor.close()
    assert engines[-1].closed
    late = Constant(1.0)
    extractor.replace(late)  # type: ignore[arg-type]
    assert late.closed
