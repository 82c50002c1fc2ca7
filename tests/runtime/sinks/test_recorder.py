"""What is recorded is read back the same, and a cut loses less than half a second of it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.cli import main
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import About, Sample, open_source
from PIL import Image

recorder = pytest.importorskip("edgetl_runtime.sinks.recorder", reason="mcap is not installed")

IMU = About("imu", "vector", ("ax", "ay"), ("g", "deg/s"), rate_hz=100.0)
CAMERA = About("camera", "frame", rate_hz=30.0)


def vectors(count: int) -> List[Sample]:
    values = np.random.default_rng(0).normal(size=(count, 2))
    return [Sample(values[n], 1000.0 + n / 100) for n in range(count)]


def record(path: Path, about: About, samples: List[Sample], **options: Any) -> None:
    clock = iter(range(10**18, 10**19, int(1e9 / (about.rate_hz or 10.0))))
    with recorder.Recorder(path, about, clock_ns=lambda: next(clock), **options) as made:
        for sample in samples:
            made.add(sample)


def test_vectors_come_back_to_the_last_bit_with_names_units_and_stamps(tmp_path: Path) -> None:
    samples = vectors(500)
    samples[3] = replace(samples[3], label="walking", doubt="saturated")
    record(tmp_path / "a.mcap", IMU, samples)
    with open_source(tmp_path / "a.mcap") as source:
        assert (source.about.channels, source.about.units) == (IMU.channels, IMU.units)
        found = list(source)
    assert np.array_equal(np.stack([s.data for s in found]), np.stack([s.data for s in samples]))
    assert [s.stamp_s for s in found] == pytest.approx([s.stamp_s for s in samples], abs=1e-8)


def test_frames_come_back_losslessly_or_nearly(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    smooth = [np.full((48, 64, 3), 40 + 5 * n, np.uint8) + np.arange(64, dtype=np.uint8)[:, None] for n in range(10)]
    noise = [generator.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(10)]
    record(tmp_path / "a.mcap", CAMERA, [Sample(f, n / 30) for n, f in enumerate(noise)], lossless=True)
    record(tmp_path / "b.mcap", CAMERA, [Sample(f, n / 30) for n, f in enumerate(smooth)])
    with open_source(tmp_path / "a.mcap") as source:
        found = list(source)
        assert len(found) == 10 and all(np.array_equal(s.data, f) for s, f in zip(found, noise))
    with open_source(tmp_path / "b.mcap") as source:
        near = [np.abs(s.data.astype(int) - f).max() for s, f in zip(source, smooth)]
    assert len(near) == 10 and max(near) <= 12


def test_the_reference_library_reads_recorded_frames(tmp_path: Path) -> None:
    highlevel = pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")
    frames = [np.random.default_rng(n).integers(0, 256, (6, 5, 3), dtype=np.uint8) for n in range(3)]
    record(tmp_path / "a.mcap", CAMERA, [Sample(f, 12.5 + n / 30) for n, f in enumerate(frames)], lossless=True)
    with highlevel.AnyReader([tmp_path / "a.mcap"]) as bag:
        found = [bag.deserialize(data, connection.msgtype) for connection, _, data in bag.messages()]
    assert [message.header.stamp.sec for message in found] == [12] * 3 and found[0].format == "png"
    for message, frame in zip(found, frames):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(message.data.tobytes()))), frame)


@pytest.mark.parametrize("rate_hz", [1.0, 10.0, 100.0, 1000.0])
def test_a_cut_loses_less_than_half_a_second(tmp_path: Path, rate_hz: float) -> None:
    about = replace(IMU, rate_hz=rate_hz)
    count = int(rate_hz * 4)
    samples = [replace(sample, stamp_s=n / rate_hz) for n, sample in enumerate(vectors(count))]
    path, sizes = tmp_path / "a.mcap", []
    clock = iter(range(10**18, 10**19, int(1e9 / rate_hz)))
    made = recorder.Recorder(path, about, clock_ns=lambda: next(clock))
    for sample in samples:
        made.add(sample)
        sizes.append(path.stat().st_size)  # what the system has by then
    for number in range(0, count, max(1, count // 20)):
        cut = tmp_path / "cut.mcap"
        cut.write_bytes(path.read_bytes()[: sizes[number]])
        try:
            with open_source(cut) as source:
                found = [sample.stamp_s for sample in source]
        except SourceError:
            found = []
        assert (number + 1 - len(found)) / rate_hz <= max(0.5, 1.01 / rate_hz)
    made.close()
    with open_source(path) as source:
        assert len(list(source)) == count


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    record(path, IMU, vectors(3))
    before = path.read_bytes()
    with pytest.raises(SourceError, match="never written over"):
        record(path, IMU, vectors(3))
    assert path.read_bytes() == before
    record(tmp_path / "empty.mcap", IMU, [])  # nothing came: no error


def test_the_command_records_until_the_source_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(50, 3)))
    address = f"file://{tmp_path / 'a.npy'}?rate_hz=100&channels=x,y,z"
    assert main(["record", address, "--out", str(tmp_path / "a.mcap"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "a.mcap"), "samples": 50, "drops": {}}
    with open_source(tmp_path / "a.mcap") as source:
        assert np.array_equal(np.stack([sample.data for sample in source]), np.load(tmp_path / "a.npy"))
    assert main(["record", address, "--out", str(tmp_path / "a.mcap")]) == 1
    assert "never written over" in capsys.readouterr().err


def test_the_command_killed_has_kept_what_came_and_ended_has_an_index(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(100_000, 3)))
    for number, name in ((signal.SIGKILL, "killed"), (signal.SIGTERM, "ended")):
        out = tmp_path / f"{name}.mcap"
        address = f"file://{tmp_path / 'a.npy'}?rate_hz=500&speed=1"
        command = [sys.executable, "-m", "edgetl_runtime.cli", "record", address, "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        while not out.exists() or out.stat().st_size < 30_000:
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=60) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        with open_source(out) as source:
            samples = list(source)
            assert ("cut" in source.health().drops) == (number == signal.SIGKILL)
        assert len(samples) > 50
        assert np.array_equal(np.stack([s.data for s in samples]), np.load(tmp_path / "a.npy")[: len(samples)])
