"""T14: whatever steps the wall clock takes, a live stream gives the same windows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.fake_clock import faketime_library

pytest.importorskip("serial", reason="pyserial is not installed")

# A board on a pseudo terminal, read as it sends; prints when the process thinks it is, and the windows. It goes
# without time.sleep, which this libfaketime breaks.
PROGRAM = """
import datetime, json, os, pathlib, select, struct, sys, threading
import numpy as np
sys.path.insert(0, sys.argv[1])
from edgetl_runtime.framing import encode_frame, parse_schema
from edgetl_runtime.sources import Source
from edgetl_runtime.sources.serial_feed import SerialFeed
from edgetl_runtime.sources.serial_port import SerialPort
from edgetl_runtime.windows import Windower, WindowSpec
from tests.runtime.sources.ports import Board

board = Board()
schema = parse_schema({"format": "edgetl", "rate_hz": 500, "field": [{"name": "x", "type": "f32"}]})
source = Source(SerialFeed(SerialPort(board.device, 115200, gather_s=0.0), schema, "board"))
def send():
    for number in range(120):
        if number == 50 and sys.argv[2]:
            pathlib.Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(sys.argv[2])
        board.send(encode_frame(struct.pack("<f", np.sin(number * 0.1)), number, number * 2_000))
        select.select([], [], [], 0.002)
threading.Thread(target=send).start()
windower, windows, states = Windower(WindowSpec(10, 10, 250.0), source_rate_hz=500.0), [], set()
while source.health().samples < 120:
    for sample in source.read(0.1):
        windows += windower.push([sample.stamp_s], [sample.data], [sample.doubt])
for sample in source.read(0.1):
    windows += windower.push([sample.stamp_s], [sample.data], [sample.doubt])
values = [float(value) for window in windows for value in window.data.ravel()][:50]
print(json.dumps({"year": datetime.date.today().year, "values": values, "cuts": windower.cuts}))
"""


@pytest.mark.skipif(faketime_library() is None, reason="no libfaketime here (Debian: apt install faketime)")
def test_no_step_of_the_wall_clock_changes_a_window(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    clock, found = tmp_path / "clock", []
    # As it is; ten years on and back; 1970; and in the middle of the run back by an hour, and on to 2036.
    for shift, then in (("+0", ""), ("+3650d", ""), ("-3650d", ""), ("@1970-01-02 00:00:00", ""), ("+0", "-3600"),
                        ("@1970-01-02 00:00:00", "@2036-01-02 00:00:00")):  # fmt: skip
        settings = {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        settings.update(LD_PRELOAD=str(faketime_library()), FAKETIME_TIMESTAMP_FILE=str(clock))
        command = [sys.executable, "-c", PROGRAM, root, then]
        for _ in range(30):  # a machine that pauses makes a gap that is really there; a clock that steps, always
            clock.write_text(shift)
            done = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, **settings}, check=False, timeout=120
            )
            assert done.returncode == 0, done.stderr
            run = json.loads(done.stdout)
            if not run["cuts"]["gap"]:
                break
        found.append(run)
    years = [run["year"] for run in found]
    assert years[1] - years[0] in (9, 10) and years[0] - years[2] in (9, 10)  # the clock was really another
    assert years[3] == 1970 and years[5] == 2036
    for run in found:
        assert run["values"] == pytest.approx(found[0]["values"], abs=0.02) and len(run["values"]) == 50
        assert not any(run["cuts"].values())
