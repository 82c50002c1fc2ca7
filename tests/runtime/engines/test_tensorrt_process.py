"""Building in a process of its own: what it gives, how it is stopped, and what is said when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, List, Tuple

import pytest
from edgetl_runtime.engines import checks
from edgetl_runtime.engines.tensorrt_builder import BuildOptions, PlanError, build_plan
from edgetl_runtime.engines.tensorrt_process import build_in_process
from edgetl_runtime.errors import EngineError

# Compiles ahead of time without a GPU: the same names as TensorRT 11, real parser, real compiler.
RTX = "tensorrt_rtx"
FOR_A_STRANGER = BuildOptions(targets=("SM86",))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: Any) -> Any:
    """A module in place of TensorRT that does one thing when it is asked for a builder."""

    def write(action: str) -> str:
        (tmp_path / "stand_in.py").write_text(
            "import os, signal, sys, time\n__version__ = '8.5.2'\nclass ILogger: pass\n"
            f"def Builder(logger):\n    {action}\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        return "stand_in"

    return write


def test_a_build_that_hangs_is_killed_at_its_limit(stand_in: Any, tmp_path: Path, monkeypatch: Any) -> None:
    pid = tmp_path / "pid"
    module = stand_in(f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    monkeypatch.setattr("edgetl_runtime.engines.tensorrt_process._GRACE_S", 0.5)
    with pytest.raises(EngineError, match="not built after 2 s"):
        build_in_process(checks.TINY_GRAPH, BuildOptions(), folder=tmp_path, module=module, timeout_s=2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert list(tmp_path.glob("build-*")) == []


def test_a_build_that_nobody_wants_any_more_is_killed(stand_in: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stop = threading.Event()
    module = stand_in(f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    def stop_when_it_runs() -> None:
        while not pid.exists() or not pid.read_text():
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=stop_when_it_runs, daemon=True).start()
    with pytest.raises(EngineError, match="stopped: whoever wanted it was closed"):
        build_in_process(checks.TINY_GRAPH, BuildOptions(), folder=tmp_path, module=module, stop=stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert list(tmp_path.glob("build-*")) == []


def test_a_build_ends_with_the_process_that_asked_for_it(stand_in: Any, tmp_path: Path) -> None:
    """A power switch for programs: SIGKILL leaves no time to say good-bye."""
    pid = tmp_path / "pid"
    module = stand_in(f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    code = (
        "from pathlib import Path; from edgetl_runtime.engines import checks\n"
        "from edgetl_runtime.engines.tensorrt_builder import BuildOptions\n"
        "from edgetl_runtime.engines.tensorrt_process import build_in_process\n"
        f"build_in_process(checks.TINY_GRAPH, BuildOptions(), folder=Path({str(tmp_path)!r}), module={module!r})\n"
    )
    path = os.pathsep.join(part for part in sys.path if part)
    asker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    while not pid.exists() or not pid.read_text():
        assert asker.poll() is None
        time.sleep(0.05)
    asker.kill()
    asker.wait()
    for _ in range(600):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the build still runs")


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed, most likely for want of memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("raise RuntimeError('libnvinfer is broken')", r"exit 1.*libnvinfer is broken"),
        ("sys.exit(7)", r"exit 7.*said nothing"),
    ],
)
def test_a_build_that_dies_is_an_engine_error_that_says_how(
    stand_in: Any, tmp_path: Path, action: str, says: str
) -> None:
    with pytest.raises(EngineError, match=says):
        build_in_process(checks.TINY_GRAPH, BuildOptions(), folder=tmp_path, module=stand_in(action), timeout_s=60.0)
    assert list(tmp_path.glob("build-*")) == []


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no_such_tensorrt"):
        build_in_process(checks.TINY_GRAPH, BuildOptions(), folder=tmp_path, module="no_such_tensorrt", timeout_s=60.0)


def test_the_real_compiler_builds_in_another_process_and_reports_its_phases(tmp_path: Path) -> None:
    pytest.importorskip(RTX)
    heard: List[Tuple[str, float]] = []
    built = build_in_process(
        checks.TINY_GRAPH, FOR_A_STRANGER, folder=tmp_path, progress=lambda *step: heard.append(step), module=RTX
    )
    assert len(built.plan) > 1000 and built.seconds > 0
    assert heard[0][0] == "Building engine" and len(heard) > 5
    assert [seconds for _, seconds in heard] == sorted(seconds for _, seconds in heard)
    assert list(tmp_path.iterdir()) == []


def test_the_real_compiler_builds_and_refuses_here() -> None:
    """In a process that forks no more: TensorRT stays loaded."""
    trt = pytest.importorskip(RTX)
    assert build_plan(trt, checks.TINY_GRAPH, FOR_A_STRANGER).plan
    assert build_plan(trt, checks.TINY_GRAPH, BuildOptions(precision="fp16", tf32=True, targets=("SM86", "SM89"))).plan
    with pytest.raises(PlanError, match="does not parse the graph"):
        build_plan(trt, b"rubbish", FOR_A_STRANGER)
    with pytest.raises(EngineError, match="does not compile for SM87"):  # Orin: its plan is built on it
        build_plan(trt, checks.TINY_GRAPH, BuildOptions(targets=("SM87",)))


def test_the_real_compiler_is_stopped_at_its_limit() -> None:
    trt = pytest.importorskip(RTX)
    with pytest.raises(EngineError, match="stopped"):
        build_plan(trt, checks.TINY_GRAPH, FOR_A_STRANGER, timeout_s=-1.0)


def test_what_the_process_prints_besides_is_no_progress(stand_in: Any, tmp_path: Path) -> None:
    heard: List[Tuple[str, float]] = []
    module = stand_in("print('[TRT] hello'); print('{\"phase\": 1}'); print('[]'); sys.stdout.flush(); sys.exit(3)")
    with pytest.raises(EngineError, match="exit 3"):
        build_in_process(
            checks.TINY_GRAPH, BuildOptions(), folder=tmp_path, module=module, progress=lambda *step: heard.append(step)
        )
    assert heard == []
