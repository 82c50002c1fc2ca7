"""`run --view` on a terminal: what it says, with rich and without, and that it is off where there is no terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from edgetl_runtime.cli.view import Facts, View
from edgetl_runtime.sources import Health

from tests.runtime import golden

PREDICTION: Dict[str, Any] = {
    "kind": "prediction", "number": 7, "stamp_s": 12.5, "label": "cup", "probability": 0.75, "latency_ms": 4.0,
    "best": [["cup", 0.75], ["plate", 0.25]], "outlier": 3.5, "generation": 4, "source": "ok", "doubt": "",
    "decision": "cup", "reason": "", "changed": False, "age_ms": 9.0,
}  # fmt: skip
SICK = Health("unplugged", ("unplugged", "constant"), 29.8, 12.0, 600, {"overrun": 3})
WELL = Health("ok", (), 30.0, 0.0, 600, {})
HEALTH: Dict[str, Any] = {
    "kind": "health", "state": "unplugged", "faults": ["unplugged", "constant"], "rate_hz": 29.8, "samples": 600,
    "drops": {"overrun": 3}, "predicted": 590, "skipped": 2, "unusable": 0, "untold": 0, "unwritten": 0,
}  # fmt: skip


def test_it_says_rate_latency_class_outlier_generation_drops_and_health() -> None:
    facts = Facts("camera")
    for number in range(40):
        facts.take({**PREDICTION, "outlier": 3.0 + (number >= 35) * 4})
    facts.take(HEALTH)
    facts.take({"kind": "drift", "drift": "scale", "words": "the features are scaled", "why": ""})
    facts.take({"kind": "learnt", "number": 3, "label": "plate", "id": 1})
    rows = dict(facts.rows(SICK, ""))
    assert rows["source"] == "unplugged (constant), nothing for 12 s    camera"
    assert rows["rate"].startswith("29.8 Hz of samples")
    assert rows["drops"] == "3 overrun, 2 skipped"
    assert rows["class"] == "cup    now cup 75 %, plate 25 %"
    assert "median 7.0, before 3.0" in rows["outlier"]
    assert rows["generation"] == "4    learnt 1, refused 0"
    assert rows["latency"] == "p50 4.0 ms, p99 4.0 ms of the model, p50 9.0 ms, p99 9.0 ms from sample to answer"
    assert rows["drift"] == "the features are scaled"
    assert rows["newest"] == "learnt plate"
    assert dict(facts.rows(SICK, "the board is hot"))["waiting"] == "learning waits: the board is hot"


def test_numbers_and_silence_are_shown_too() -> None:
    facts = Facts("camera")
    assert dict(facts.rows(WELL, ""))["class"] == "nothing yet"
    facts.take({"kind": "prediction", "values": {"angle": 0.25}, "outlier": 1.0, "generation": 0, "latency_ms": 1.0,
                "source": "ok"})  # fmt: skip
    assert dict(facts.rows(WELL, ""))["class"] == "angle 0.25"
    facts.take({"kind": "learnt", "number": 3, "label": None, "targets": {"angle": 0.5, "gear": 2}, "id": 1})
    assert dict(facts.rows(WELL, ""))["newest"] == "learnt angle 0.5, gear 2"
    facts.take({"kind": "refused", "number": None, "label": None, "reason": "it is no label"})
    assert dict(facts.rows(WELL, ""))["newest"] == "refused a label: it is no label"


@pytest.mark.parametrize("plain", [True, False])
def test_messages_of_the_log_are_shown_and_given_back(plain: bool) -> None:
    if not plain:
        pytest.importorskip("rich", reason="rich is not installed")
    stream, before = io.StringIO(), logging.getLogger().handlers
    with View("camera", lambda: WELL, stream=stream, plain=plain) as view:
        view.write(PREDICTION)
        thread = threading.Thread(target=logging.getLogger("x").warning, args=("the camera is gone",))
        thread.start()  # as a source's thread does
        thread.join(10.0)
        logging.getLogger("x").warning("and back")
    assert logging.getLogger().handlers == before
    assert "the camera is gone" in stream.getvalue() and "ok" in stream.getvalue()


@pytest.fixture
def command(tmp_path: Path) -> List[str]:
    golden.opened(tmp_path / "state").close()
    np.save(tmp_path / "digits.npy", golden.frames()[:60])
    address = f"numpy://{tmp_path / 'digits.npy'}?rate_hz=30&speed=1"
    start = [sys.executable, "-m", "edgetl_runtime.cli", "run", address, "--state", str(tmp_path / "state")]
    return [*start, "--allow-unsigned", "--view"]


def test_on_a_terminal_it_is_drawn_and_nothing_else_is_printed(command: List[str]) -> None:
    here, there = pty.openpty()
    process = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env={**os.environ, "TERM": "xterm"})
    os.close(there)
    said = b""
    while select.select([here], [], [], 30.0)[0]:
        try:
            said += os.read(here, 1 << 16)
        except OSError:  # the other end was closed
            break
    os.close(here)
    assert process.wait(timeout=30) == 0
    text = said.decode()
    assert "generation" in text and "unsure" in text and '"kind"' not in text and "Traceback" not in text


def test_without_a_terminal_the_records_are_written_as_ever(command: List[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert sum(json.loads(line)["kind"] == "prediction" for line in done.stdout.splitlines()) >= 10
