"""The worked examples of examples/ run as a reader would run them, and adapting helps where they say that it does."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from edgetl_runtime.cli import COMMANDS as DEVICE_COMMANDS

from edgetl.cli import COMMANDS
from tests.house.readme import broken_links, commands, faults
from tests.house.source import REPO

EXAMPLES = REPO / "examples"
DATA = Path(os.environ.get("EDGETL_DATA", REPO.parent / "shared" / "data"))
# Enough for the figures to mean something, little enough for every commit.
SMALL = {
    "warehouse_camera": ["--most", "20", "--labels", "6"],
    "wearable_imu": ["--epochs", "4"],
    "steering": ["--frames", "160", "--labels", "20"],
}


def said(name: str, arguments: list[str], data: str, monkeypatch: Any, capsys: Any) -> tuple[str, dict[str, float]]:
    """(its first line, the first figure behind each name of its table)."""
    monkeypatch.setattr("sys.argv", [name, *arguments])
    monkeypatch.setenv("EDGETL_DATA", data)
    runpy.run_path(str(EXAMPLES / name / "run.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    rows = [re.fullmatch(r"(\S.*?) {2,}(\d+\.\d+)(?: +\d+\.\d+)?", line) for line in lines]
    return lines[0], {row[1]: float(row[2]) for row in rows if row}


@pytest.mark.parametrize("name", SMALL)
def test_an_example_runs_on_what_it_draws_and_adapting_helps(name: str, monkeypatch: Any, capsys: Any) -> None:
    first, figures = said(name, SMALL[name], "", monkeypatch, capsys)
    assert first.startswith("data: ") and "drawn" in first
    before, oracle = figures["no adaptation"], next(value for row, value in figures.items() if "oracle" in row)
    adapted = next(value for row, value in figures.items() if "live at once" in row or "with their angle" in row)
    if name == "steering":
        assert oracle < before and adapted < before < figures["always the mean"] * 1.5
    else:
        assert oracle > before + 5 and adapted > before


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_an_example_runs_on_real_data(name: str, monkeypatch: Any, capsys: Any) -> None:
    if not DATA.is_dir():
        pytest.skip("this needs the real data; set EDGETL_DATA to its folder")
    first, figures = said(name, [], str(DATA), monkeypatch, capsys)
    assert "drawn" not in first and "no adaptation" in figures


@pytest.mark.parametrize("name", SMALL)
def test_an_example_is_one_page_and_one_script_that_a_newcomer_can_read(name: str) -> None:
    assert {path.name for path in (EXAMPLES / name).iterdir()} - {"__pycache__", "imu.toml"} == {"README.md", "run.py"}
    script, page = ((EXAMPLES / name / file).read_text() for file in ("run.py", "README.md"))
    assert len(script.splitlines()) < 120 and len(page.splitlines()) < 60
    for section in ("## On the host", "## On the robot", "## In Python"):
        assert section in page
    ast.parse(script)


@pytest.mark.parametrize("name", [".", *SMALL])
def test_the_page_of_an_example_names_what_there_is(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text()
    assert faults(text) == [] and broken_links(text, EXAMPLES / name) == []
    known = {"edgetl": COMMANDS, "edgetl-runtime": DEVICE_COMMANDS}
    assert [name for program, name in commands(text) if name not in known[program]] == []
    assert all((REPO / path).exists() for path in re.findall(r"examples/[\w/.]+\w", text))


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: Any) -> None:
    notebook = json.loads((EXAMPLES / "first_steps.ipynb").read_text())
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook["cells"])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert names["after"] > names["before"]
    assert Path("things.edgetl").is_file()
