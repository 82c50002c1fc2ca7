"""A device phones nobody: neither do the libraries that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import onnxruntime
import pytest

from tests.runtime import golden

OURS = (
    "import sys, time, edgetl_runtime\n"
    "from edgetl_runtime.engines import open_engine\n"
    "open_engine('onnxruntime', open(sys.argv[1], 'rb').read(), threads=1)\n"
    "time.sleep(1)\n"
)
BY_HAND = (
    "import sys, time, onnxruntime\n"
    "session = onnxruntime.InferenceSession(open(sys.argv[1], 'rb').read(), providers=['CPUExecutionProvider'])\n"
    "time.sleep(1)\n"
)


def left_at_home(code: str, folder: Path) -> List[str]:
    """What a process of that code leaves in a new home folder."""
    home = folder / "home"
    home.mkdir()
    (folder / "graph.onnx").write_bytes(golden.bundle().members["extractor.onnx"])
    silenced = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    environment: Dict[str, str] = {key: value for key, value in os.environ.items() if key not in silenced}
    environment.pop("XDG_CACHE_HOME", None)
    subprocess.run(
        [sys.executable, "-c", code, str(folder / "graph.onnx")], check=True, env={**environment, "HOME": str(home)}
    )
    return [str(path.relative_to(home)) for path in home.rglob("*")]


def test_onnxruntime_keeps_no_device_id_and_starts_no_uploader(tmp_path: Path) -> None:
    assert left_at_home(OURS, tmp_path) == []


def test_called_by_hand_it_would_so_the_test_above_can_fail(tmp_path: Path) -> None:
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 29):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} has no such reporting")
    assert any("onnxruntime" in name for name in left_at_home(BY_HAND, tmp_path))
