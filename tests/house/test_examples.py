"""The senders of examples/ run here as they stand, and what they send is what the schema beside them says."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.framing import open_decoder, timeline_of
from edgetl_runtime.sources.schema_files import load_schema

from tests.house.source import REPO

EXAMPLES = REPO / "examples"
FORMATS = {"edgetl_frame": "edgetl_frame", "csv_lines": "csv_line", "packed_binary": "packed_binary", "nmea": "nmea"}
SAMPLES, VOLTS = 200, 5 / 1024
EXPECTED = np.array([[(n * 37 + i * 341) % 1024 * (n % 5 != 0) * VOLTS for i in range(3)] for n in range(SAMPLES)])


@pytest.fixture(scope="module")
def micropython() -> ModuleType:
    spec = importlib.util.spec_from_file_location("senders", EXAMPLES / "micropython" / "senders.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decoded(name: str, data: bytes) -> Any:
    """All readings of what a sender sent; text formats throw their first line away, so one is put before."""
    schema = load_schema(EXAMPLES / "schemas" / f"{name}.toml")
    decoder, timeline = open_decoder(schema), timeline_of(schema)
    readings = decoder.feed(b"a line\r\n" + data if b"\n" in data[-2:] else data)
    stamps = [timeline.stamp(reading.ticks, 0.01 * number) for number, reading in enumerate(readings)]
    return schema, readings, stamps, {reason: count for reason, count in decoder.faults.items() if count}


def check(name: str, data: bytes) -> None:
    schema, readings, stamps, faults = decoded(name, data)
    assert np.array([reading.values for reading in readings]) == pytest.approx(EXPECTED)
    assert faults in ({}, {"text": 1})
    assert [field.unit for field in schema.channels] == ["V"] * 3 and schema.rate_hz == 100
    assert np.diff(stamps).max() < 0.021 and np.diff(stamps).min() > 0.0


@pytest.mark.parametrize("name", FORMATS)
def test_a_micropython_sender_sends_what_the_schema_says(name: str, micropython: ModuleType) -> None:
    rows = np.round(EXPECTED / VOLTS).astype(int).tolist()
    send = getattr(micropython, FORMATS[name])
    check(name, b"".join(send(number, 5_000_000 + 10_000 * number, row) for number, row in enumerate(rows)))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the sketches with")
@pytest.mark.parametrize("name", FORMATS)
def test_an_arduino_sketch_sends_what_the_schema_says(name: str, tmp_path: Path) -> None:
    sketch = EXAMPLES / "arduino" / name / f"{name}.ino"
    header = REPO / "tests" / "house" / "arduino" / "Arduino.h"
    command = ["g++", "-x", "c++", "-Wall", "-Wextra", "-Werror", "-include", header, sketch, "-o", tmp_path / "board"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    data = subprocess.run([tmp_path / "board"], capture_output=True, check=True, timeout=60).stdout
    check(name, data)


def test_every_sender_has_its_schema_and_nothing_lies_about() -> None:
    assert {path.name for path in (EXAMPLES / "arduino").iterdir()} == set(FORMATS)
    assert {path.stem for path in (EXAMPLES / "schemas").iterdir()} == set(FORMATS)
