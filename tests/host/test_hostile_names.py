"""Names of folders, and small files of a stranger: they end no command, and no page, terminal or file obeys them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from PIL import Image

from edgetl.cli import main
from edgetl.errors import ProjectError, TuningError
from edgetl.project import init_project, read_project
from edgetl.toml_files import read_toml
from edgetl.tuning.checkpoints import Checkpoints
from edgetl.tuning.choice import KeptTrials
from tests.host.changed_json import changed

MARKUP = "<img src=x onerror=alert(1)>"


def test_data_check_shows_hostile_names_and_obeys_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    for name in (MARKUP, "b\"'&"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        (folder / os.fsdecode(b"<b>\x1b[2J\xff.png")).write_bytes(b"no picture, and the name is no UTF-8")
    page = tmp_path / "page.html"
    assert main(["data", "check", str(tmp_path / "photos"), "--out", str(page)]) == 3
    said = capsys.readouterr()
    assert "unreadable" in said.out and "\x1b" not in said.out
    html = page.read_text(encoding="utf-8")
    assert MARKUP not in html and "&lt;img src=x onerror=alert(1)&gt;" in html and "<b>\x1b" not in html


@pytest.mark.parametrize("name", ["pho\n[build]\nkey = \"evil.key\"\n#", os.fsdecode(b"photos\xff"), "a\x7f\x1b[2J"])
def test_a_folder_writes_no_lines_into_a_project_file(name: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(8):
        folder = tmp_path / name / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    try:
        path, found = init_project(tmp_path)
    except ProjectError as error:
        assert "no valid text" in str(error) and not (tmp_path / "edgetl.toml").exists()
        return
    read_project(path)
    text = path.read_text(encoding="utf-8")
    assert found.path is not None and read_toml(path, "project file", ProjectError)[0]["data"]["path"] == name
    assert "\x1b" not in text and not any(line.startswith("key") for line in text.splitlines())


@pytest.mark.parametrize(
    "record",
    [
        {"job": [], "file": "x", "sha256": "", "plain": {}}, {"job": {}, "file": "../secret", "plain": {}}, [], {},
        {"job": {}, "file": "x", "sha256": hashlib.sha256(b"no tensors").hexdigest(), "plain": {}},
        {"job": {}, "file": ["x"], "plain": 7},
    ],
)  # fmt: skip
def test_a_folder_of_checkpoints_that_somebody_else_wrote_is_refused(record: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"no tensors")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x").write_bytes(b"no tensors")
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    checkpoints = Checkpoints(tmp_path / "run", {})
    try:
        assert checkpoints.load() is None  # a file that is not there
    except TuningError as error:
        assert str(tmp_path / "run") in str(error)


def test_trials_that_somebody_else_wrote_are_refused_or_of_another_run(tmp_path: Path) -> None:
    path = tmp_path / "choice.json"
    kept = {"job": {"seed": 1}, "trials": {"full 0": {"rights": [1.0, 0.0], "samples": 2, "seconds": 0.5}}}
    path.write_text(json.dumps(kept))
    assert KeptTrials(tmp_path, {"seed": 1}).trial("full", 0) == kept["trials"]["full 0"]
    for document in [*changed(kept), "["]:
        path.write_text(json.dumps(document) if document != "[" else "[" * 100_000)
        try:
            found = KeptTrials(tmp_path, {"seed": 1}).trial("full", 0)
        except (SourceError, TuningError) as error:
            assert str(tmp_path.parent) in str(error)
        else:
            assert found is None or np.isfinite([*found["rights"], found["samples"], found["seconds"]]).all()


@pytest.mark.parametrize("text", ["a=" + "[" * 10_000, "a=" + "9" * 10_000, "a=\udcff"])
def test_a_project_file_that_is_a_bomb_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "edgetl.toml").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ProjectError):
        read_project(tmp_path)
