"""What a command was told to write is looked at first; a pipe or a device in its place stays what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from edgetl_runtime.cli import main as device
from edgetl_runtime.errors import SourceError
from edgetl_runtime.out_files import checked_out

from edgetl.cli import main
from edgetl.html.page import write_page

COMMANDS = {
    "build": ["build", "--backbone", "timm/none", "--data", "none", "--out", "{out}"],
    "bench": ["bench", "none.edgetl", "--out", "{out}"],
    "choose": ["choose", "--data", "none", "timm/none", "--out", "{out}"],
    "data": ["data", "check", "none", "--out", "{out}"],
    "drift": ["drift", "none.json", "--out", "{out}"],
    "finetune": ["finetune", "--backbone", "timm/none", "--data", "none", "--out", "{out}.safetensors"],
    "sign": ["sign", "none.edgetl", "--key", "own.key", "--out", "{out}"],
    "trust": ["trust", "{out}", "--sequence", "1", "--recovery", "own.pub", "--key", "own.key"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_a_folder_or_nowhere_is_refused_before_anything_is_opened(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keygen", "own"]) == 0
    for suffix in ("", ".safetensors"):
        os.mkfifo(f"pipe{suffix}")
        Path(f"folder{suffix}").mkdir()
    for out, words in (("pipe", "is no plain file"), ("folder", "is a folder"), ("none/x", "there is no folder none")):
        assert main([part.format(out=out) for part in COMMANDS[command]]) == 1
        said = capsys.readouterr().err
        assert words in said, said
    assert all(stat.S_ISFIFO(Path(f"pipe{suffix}").stat().st_mode) for suffix in ("", ".safetensors"))


@pytest.mark.parametrize(("name", "words"), [("a\0b", "cannot write 'a.x00b'"), ("x" * 300, "File name too long")])
def test_a_name_that_no_file_has_is_one_line(name: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        checked_out(name)


@pytest.mark.parametrize(("out", "words"), [("pipe", "is no plain file"), ("none/x.json", "there is no folder none")])
def test_a_report_of_a_board_needs_a_place_before_anything_is_measured(
    out: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert device(["bench", "none.edgetl", "--report", out]) == 1
    assert words in capsys.readouterr().err and stat.S_ISFIFO(Path("pipe").stat().st_mode)


def test_a_page_that_the_disk_does_not_take_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the page .* cannot be written: Is a directory"):
        write_page(tmp_path, "x")
    write_page(checked_out(tmp_path / "x.html"), "caf\u00e9 \udcff")
    assert (tmp_path / "x.html").read_text(encoding="utf-8") == "caf\u00e9 &#56575;"
