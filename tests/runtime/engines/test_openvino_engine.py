"""OpenVINO computes in the precision that is asked for, whatever the processor would rather."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.engines import checks, open_engine
from edgetl_runtime.engines.openvino_engine import import_openvino
from edgetl_runtime.errors import EngineError, EngineUnavailableError

if importlib.util.find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)
openvino = import_openvino()


def opened(**options: Any) -> Any:
    return open_engine("openvino", checks.TINY_GRAPH, threads=1, **options)


def off(engine: Any) -> float:
    image = checks.tiny_samples(1)[0]
    expected = checks.expected_features(image)
    return float(np.abs(engine.run({"image": image})["features"] - expected).max() / expected.max())


def test_float32_is_set_and_said() -> None:
    engine = opened()
    assert engine.description.endswith("CPU f32")
    assert off(engine) < 1e-5


def test_bfloat16_is_taken_on_purpose_only_and_said() -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    engine = opened(precision="bf16")
    assert engine.description.endswith("CPU bf16")
    assert 1e-4 < off(engine) < 1e-2
    contract = {check.__name__: check for check in checks.yield_checks(100)}
    with pytest.raises(AssertionError, match="off by"):  # so the contract would find it as a default
        contract["check_features_are_those_of_numpy"](lambda graph: opened(precision="bf16"))


def test_a_device_that_is_not_there_and_a_precision_that_is_none_are_refused() -> None:
    with pytest.raises(EngineUnavailableError, match="no device 'TPU'"):
        opened(device="TPU")
    with pytest.raises(EngineUnavailableError, match="no device 'AUTO'"):  # it would choose silently
        opened(device="AUTO")
    with pytest.raises(EngineError, match="precision"):
        opened(precision="f8")


def test_a_device_that_computes_otherwise_than_asked_is_refused(monkeypatch: Any) -> None:
    compile_model = openvino.Core.compile_model

    def forgetful(self: Any, model: Any, device: str, hints: Any) -> Any:
        return compile_model(self, model, device, {**hints, "INFERENCE_PRECISION_HINT": "bf16"})

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    monkeypatch.setattr(openvino.Core, "compile_model", forgetful)
    with pytest.raises(EngineError, match="computes in bfloat16 on CPU although f32"):
        opened()


SEEN = (
    "import sys; seen = []\n"
    "sys.addaudithook(lambda event, args: seen.append(event)"
    " if event.startswith(('socket.', 'subprocess.', 'os.posix_spawn', 'os.fork')) else None)\n"
)


def test_it_reports_to_nobody(tmp_path: Any) -> None:
    """`import openvino` sends usage to Google Analytics, and writes an identity into the home folder."""
    code = SEEN + (
        "from edgetl_runtime.engines import checks, open_engine\n"
        "engine = open_engine('openvino', checks.TINY_GRAPH, threads=1)\n"
        "engine.run({'image': checks.tiny_samples(1)[0]}); engine.close()\n"
        "assert 'openvino' in sys.modules and seen == [], seen\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
    )
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "HOME")}
    subprocess.run([sys.executable, "-c", code], check=True, env={**variables, "HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_what_was_imported_before_is_left_as_it_is(monkeypatch: Any) -> None:
    theirs = object()
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    assert import_openvino() is openvino
    assert sys.modules["openvino_telemetry"] is theirs
