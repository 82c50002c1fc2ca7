"""The project file: written with what is there, read strictly, and the same on the command line and in Python."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgetl
from edgetl.cli import main
from edgetl.cli.project import add_project_argument, with_project
from edgetl.errors import DatasetError, ProjectError
from edgetl.project import SETTINGS
from tests.host.tuning.small import stripes

COMMANDS = ("build", "choose", "data", "finetune")
# What is of one run, not of a project.
OF_A_RUN = {"help", "project", "json", "verbose", "action"}


def parser_of(name: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"edgetl.cli.{name}")
    parser = argparse.ArgumentParser(name)
    module.add_arguments(parser)
    add_project_argument(parser)
    return parser


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number, (frame, label) in enumerate(stripes(36)):
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(frame, np.ones((4, 4), np.uint8))).save(tmp_path / "photos" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str) -> Path:
    Path("edgetl.toml").write_text(text)
    return Path("edgetl.toml")


SMALL = """[data]
path = "photos"
holdout = 0.25
[network]
backbone = "torchvision/squeezenet1_1"
size = 64
resize = 64
[choose]
backbones = ["torchvision/squeezenet1_1@64"]
[finetune]
recipe = "head"
set = { mixup = 0.1 }
[build]
out = "stripes.edgetl"
name = "stripes"
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_a_command_takes_a_project_can_say(name: str) -> None:
    told = {setting.options[name] for keys in SETTINGS.values() for setting in keys.values() if name in setting.options}
    options = {
        action.option_strings[0] if action.option_strings else "": action.dest
        for action in parser_of(name)._actions
        if action.dest not in OF_A_RUN
    }
    unsaid = {option for option in options if option not in told}
    # A sensor's mounting matters to training alone.
    assert unsaid - ({"--turn"} if name == "choose" else set()) == set()
    assert told - set(options) == set(), "no key is for an option that there is not"


def test_init_sees_what_is_there_and_writes_a_file_that_reads(folder: Path, capsys: Any) -> None:
    assert main(["init", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "images" and "36 images of 3 classes, 12 each" in said["seen"] and said["data"] == "photos"
    project = edgetl.read_project()
    assert project.get("data", "path") == "photos" and "36 images" in (folder / "edgetl.toml").read_text()
    assert len(project.dataset()) == 36
    assert main(["init"]) == 1 and "not overwritten" in capsys.readouterr().err


def test_init_tells_frames_of_drives_splits_sensors_and_numbers_apart(tmp_path: Path) -> None:
    for part, drives in (("train", 8), ("test", 2)):
        for number in range(drives * 6):
            path = tmp_path / "frames" / "photos" / part / "ab"[number % 2] / f"drive{number // 6}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(path)
    frames = edgetl.init_project(tmp_path / "frames")[1]
    assert frames.path is not None and frames.path.name == "train" and set(frames.others) == {"test"}
    tables = {
        "sensor": "time [ms],label,group,ax [g]\n" + "".join(f"{i * 20},{'ab'[i % 2]},p,{i}\n" for i in range(99)),
        "numbers": "path,angle,note\n" + "".join(f"{i}.png,0.{i},x\n" for i in range(9)),
        "listed": "path,label,drive\n" + "".join(f"{i}.png,{'ab'[i % 2]},{i // 3}\n" for i in range(9)),
    }
    found = {}
    for name, text in tables.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.csv").write_text(text)
        found[name] = edgetl.init_project(tmp_path / name)[1]
        edgetl.read_project(tmp_path / name)
    assert found["sensor"].kind == "windows" and found["sensor"].window == {"length": 50, "rate_hz": 50.0}
    assert found["numbers"].kind == "numbers" and found["numbers"].targets == ["angle"]
    assert found["listed"].kind == "images" and found["listed"].split == "group:drive"
    (tmp_path / "nothing").mkdir()
    assert edgetl.init_project(tmp_path / "nothing")[1].path is None


@pytest.mark.parametrize(
    ("pauses_ms", "rate_hz"), [((), 100.0), ((77,) * 40, 32.5), ((9000,), 100.0), ((9000,) * 40, 20.0)]
)
def test_a_sensor_that_pauses_is_read_at_a_rate_that_bridges_the_pauses(
    tmp_path: Path, pauses_ms: tuple[int, ...], rate_hz: float
) -> None:
    steps = [10] * 1999
    steps[20 : 20 + 45 * len(pauses_ms) : 45] = pauses_ms
    times = [sum(steps[:number]) for number in range(2000)]
    rows = [f"{time},{'ab'[number // 1000]},{number}" for number, time in enumerate(times)]
    (tmp_path / "data.csv").write_text("time [ms],label,ax [g]\n" + "\n".join(rows) + "\n")
    assert edgetl.init_project(tmp_path)[1].window["rate_hz"] == pytest.approx(rate_hz, rel=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data]\npath = 'photos'\n\n[netwrok]\n", r"edgetl.toml:4: \[netwrok\].*did you mean network"),
        ("[data]\nhold_out = 0.2\n", r"edgetl.toml:2: \[data\] hold_out.*did you mean holdout"),
        ("[data]\nholdout = 'much'\n", r"edgetl.toml:2: \[data\] holdout must be a number; got 'much'"),
        ("[data]\nseed = true\n", "must be a whole number"),
        ("[network]\nmean = [1, 'x']\n", "must be a number, or a list of numbers"),
        ("[build]\n# boards\ndevices = ['jetson-of-tomorrow']\n", r"edgetl.toml:3: .*jetson-of-tomorrow"),
        ("[data]\npath 'x'\n", "line 2"),
        ("seed = 3\n", r"edgetl.toml:1: \[seed\]"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(folder: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        edgetl.read_project(written(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path = 'photos'\ntargets = ['angle:x']", r"edgetl.toml:3: \[data\] targets: .*could not convert"),
        ("path = 'photos'\ntasks = ['kind']", "several tasks come as a CSV"),
        ("path = '~nobody-here/x'", "edgetl.toml:2: .*there is no .*~nobody-here/x"),
        ("path = '" + "x" * 300 + "'", "edgetl.toml:2: .*there is no x"),
    ],
)
def test_what_is_wrong_with_the_data_is_said_when_it_is_opened(folder: Path, text: str, said: str) -> None:
    with pytest.raises((ProjectError, DatasetError), match=said):
        edgetl.read_project(written(f"[data]\n{text}\n")).dataset()


def test_a_path_that_is_not_there_is_said_with_its_line_when_it_is_needed(folder: Path, capsys: Any) -> None:
    written(SMALL + 'key = "signing.key"\n')
    assert main(["build"]) == 1
    assert "edgetl.toml:16: [build] key: there is no signing.key" in capsys.readouterr().err
    assert main(["finetune", "--json"]) == 0, "a key is not needed to train"


def test_what_is_typed_wins_over_the_file(folder: Path) -> None:
    written(SMALL.replace('name = "stripes"', 'name = "stripes"\ndevices = ["jetson-orin-nano"]\nsequence = 3'))
    parser = parser_of("build")
    args = parser.parse_args(with_project("build", parser, ["--sequence", "7", "--device", "x86-openvino"]))
    assert (args.sequence, args.device, args.name, args.size) == (7, ["x86-openvino"], "stripes", 64)
    args = parser.parse_args(with_project("build", parser, []))
    assert (args.sequence, args.device) == (3, ["jetson-orin-nano"])
    typed = ["--data", "elsewhere", "--backbone", "b", "--out", "o.edgetl"]
    assert with_project("build", parser, typed) == typed, "data that is named is not of the project"
    assert "--data=photos" in with_project("build", parser, ["--project", "edgetl.toml", *typed])
    parser = parser_of("data")
    assert parser.parse_args(with_project("data", parser, ["check"])).data == "photos"
    assert parser.parse_args(with_project("data", parser, ["check", "other"])).data == "other"


def test_the_commands_and_python_make_the_same_of_a_project(folder: Path, capsys: Any) -> None:
    import torch

    torch.manual_seed(0)
    torch.save(project_weights(), "w.pth")
    written(SMALL.replace("size = 64", 'size = 64\nweights = "w.pth"', 1))
    assert main(["build", "--json"]) == 0
    by_command = json.loads(capsys.readouterr().out)
    project = edgetl.read_project(folder)
    data = project.dataset()
    by_python = edgetl.build(project.extractor(data), data, **{**project.building(), "out": "again.edgetl"})
    assert by_python.held_out_samples == by_command["held_out_samples"] == 9
    assert by_python.held_out_accuracy == by_command["held_out_accuracy"]
    assert by_python.parity.max_rel == by_command["parity"]["max_rel"]
    assert main(["choose", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    ranking = edgetl.choose(data, **project.choosing())
    assert (ranking.samples, ranking[0].name) == (said["samples"], said["candidates"][0]["name"])
    assert edgetl.finetune(project.extractor(data), data, **project.tuning()).provenance["finetune"]["recipe"] == "head"


def project_weights() -> Any:
    import torchvision

    return torchvision.models.squeezenet1_1().state_dict()


def test_build_takes_the_weights_that_finetune_wrote(folder: Path) -> None:
    written(SMALL.replace('recipe = "head"', 'recipe = "head"\nout = "tuned.safetensors"'))
    assert "--weights" not in dict(edgetl.read_project().options("build"))
    Path("tuned.safetensors").write_bytes(b"")
    assert dict(edgetl.read_project().options("build"))["--weights"] == ["tuned.safetensors"]
