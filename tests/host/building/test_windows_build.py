"""From a CSV of a sensor to a bundle, and from a serial line to its answers: what examples/wearable_imu shows."""

from __future__ import annotations

import json
import os
import pty
import threading
import time

import edgetl_runtime as rt
import numpy as np
import pytest
from edgetl_runtime.cli import main as device
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.windows import WindowSpec

import edgetl
from edgetl.cli import main as host
from tests.house.source import REPO

EXAMPLE = REPO / "examples" / "wearable_imu"
KINDS = {"still": (0.0, 0.0), "walk": (2.0, 0.3), "run": (4.0, 0.8)}
pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="no examples/ here")


def motion(kind, seconds, seed):
    """(N, 3) in g at 100 Hz."""
    generator = np.random.default_rng(seed)
    hz, size = KINDS[kind]
    swing = size * np.sin(2 * np.pi * hz * np.arange(int(seconds * 100)) / 100 + generator.uniform(0, 6))
    return np.stack([swing, 0.5 * swing, 1 + 0.3 * swing], axis=1) + 0.02 * generator.normal(size=(len(swing), 3))


def write_table(path, people, seconds):
    lines, clock = ["time [ms],ax [g],ay [g],az [g],label,group"], 0
    for number, who in enumerate(people):
        for place, kind in enumerate(KINDS):
            clock += 5000
            for row in motion(kind, seconds, 10 * number + place):
                clock += 10
                lines.append(f"{clock},{row[0]:.4f},{row[1]:.4f},{row[2]:.4f},{kind},{who}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    table = write_table(tmp_path_factory.mktemp("motion") / "motion.csv", ("anna", "ben", "cleo", "dan", "eve"), 4.0)
    out = table.with_suffix(".edgetl")
    data = edgetl.dataset(table, window=WindowSpec(length=50, stride=25, rate_hz=50.0))
    network = edgetl.extractor("edgetl/conv1d-s", data=data, turn=30)
    built = edgetl.build(edgetl.finetune(network, data, recipe="scratch", validation=0.0), data, out=out)
    assert built.held_out_accuracy > 0.9 and built.held_out_samples > 10
    return out


def test_the_bundle_says_how_a_device_cuts_its_windows(bundle):
    manifest = rt.read_bundle(bundle, allow_unsigned=True).manifest
    spec = WindowSpec(50, 25, 50.0, ("ax", "ay", "az"), ("g", "g", "g"))
    assert manifest.preprocess == ArrayPreprocess((50, 3), spec) and manifest.classes == ("run", "still", "walk")
    assert manifest.provenance["extractor"]["finetune"]["recipe"] == "scratch"


def test_commands_that_take_files_name_the_one_that_takes_a_sensor(bundle, tmp_path, capsys):
    state = ["--state", str(tmp_path / "state"), "--allow-unsigned"]
    assert device(["install", str(bundle), *state]) == 0
    for command in (["predict"], ["learn", "--label", "walk"], ["explain"]):
        assert device([*command, str(bundle.with_suffix(".csv")), *state]) == 1
        assert "windows of a sensor, not files: edgetl-runtime run ADDRESS" in capsys.readouterr().err


def test_a_serial_sensor_of_other_units_is_understood(bundle, tmp_path, capsys):
    pytest.importorskip("serial")
    board, port = pty.openpty()
    address = f"serial://{os.ttyname(port)}?schema={EXAMPLE / 'imu.toml'}"
    rows = motion("walk", 4.0, 99) * 9.80665
    stop = threading.Event()

    def send():
        began = time.monotonic()
        for number, row in enumerate(rows):
            if stop.wait(max(0.0, began + number / 100 - time.monotonic())):
                return
            os.write(board, f"{10 * number},{row[0]:.4f},{row[1]:.4f},{row[2]:.4f}\r\n".encode())

    state = str(tmp_path / "state")
    rt.open(bundle, state_dir=state, allow_unsigned=True).close()
    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert device(["run", address, "--state", state, "--allow-unsigned", "--smooth", "0", "--for", "3"]) == 0
    finally:
        stop.set()
        sender.join()
        os.close(board)
        os.close(port)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    answers = [record["label"] for record in records if record["kind"] == "prediction"]
    assert answers and set(answers) == {"walk"}


WINDOWS = ("--window", "50", "--rate-hz", "50")


def command(folder):
    table = write_table(folder / "motion.csv", ("anna", "ben", "cleo"), 2.0)
    return ["build", "--backbone", "edgetl/conv1d-s", "--data", str(table), "--out", str(folder / "cli.edgetl")]


@pytest.mark.slow
def test_edgetl_build_trains_a_network_that_nobody_pretrained(tmp_path, capsys):
    assert host([*command(tmp_path), *WINDOWS, "--columns", "az,ax"]) == 0
    assert "3 classes" in capsys.readouterr().out
    spec = rt.read_bundle(tmp_path / "cli.edgetl", allow_unsigned=True).manifest.preprocess.window
    assert (spec.stride, spec.channels, spec.units) == (25, ("az", "ax"), ("g", "g"))


def test_edgetl_build_says_what_is_wrong_with_windows(tmp_path, capsys):
    start, windows = command(tmp_path), WINDOWS
    for options, said in (
        ([], "say --window and --rate-hz"),
        (windows[:2], "say --rate-hz"),
        (windows[2:], "--rate-hz are for windows"),
        ([*windows, "--columns", "gx"], "needs the channel 'gx'"),
        (["--window", "0", "--rate-hz", "50"], "from 1 to"),
        ([*windows, "--targets", "ax"], "not for windows yet"),
        ([*windows, "--turn", "30", "--columns", "ax"], "three axes"),
    ):
        assert host([*start, *options]) == 1
        assert said in capsys.readouterr().err.splitlines()[-1]
