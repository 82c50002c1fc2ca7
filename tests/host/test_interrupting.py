"""Ctrl-C in a long command ends it with one line that says what is left and how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NET = "torchvision/squeezenet1_1"
# What each command says on stderr when it is in the middle of its work.
COMMANDS = {
    "build": (["--backbone", NET, "--out", "o.edgetl"], "features of the training part", "o.edgetl is not written"),
    "choose": ([f"{NET}@64", "--cache", "c"], "features in fp32", "kept in c; the same command goes on"),
    "data": (["check", "photos"], "looking at the samples", "nothing was changed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupted_command_says_in_one_line_what_is_left(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(600):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(path)
    arguments, stage, left = COMMANDS[name]
    command = [sys.executable, "-m", "edgetl.cli", name, *([] if name == "data" else ["--data", "photos"]), *arguments]
    said = []
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        for line in process.stderr:
            said.append(line)
            if stage in line:
                process.send_signal(signal.SIGINT)
                break
        said += process.stderr.readlines()
        assert process.stdout.read() == ""
    assert process.returncode == 130, said
    assert said[-1] == f"edgetl {name}: interrupted; " + said[-1].partition("interrupted; ")[2] and left in said[-1]
    assert not any("Traceback" in line for line in said)
