"""What a command prints with --json is JSON, also where a figure is no number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.cli import main
from tests.runtime import golden


def no_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_an_r2_of_numbers_that_do_not_vary_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(golden.bundle().members["extractor.onnx"])
    rows = ["path,ink"]
    for number in range(30):
        Image.fromarray(np.full((8, 8), 8 * number, np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{min(number, 20)}")  # the last part, which is held out, is all 20
    (tmp_path / "t.csv").write_text("\n".join(rows))
    done = main(["build", "--backbone", f"onnx:{tmp_path / 'net.onnx'}", "--data", str(tmp_path / "t.csv"),
                 "--targets", "ink", "--out", str(tmp_path / "b.edgetl"), "--size", "8", "--channels", "L",
                 "--json"])  # fmt: skip
    assert done == 0
    told = json.loads(capsys.readouterr().out, parse_constant=no_constant)
    assert told["outputs"][0]["name"] == "ink" and "null" in json.dumps(told["output_errors"])
