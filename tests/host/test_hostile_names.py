"""Names of folders and files are anybody's: they end no command, and neither a page nor a terminal obeys them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.cli import main

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
