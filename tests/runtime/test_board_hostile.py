"""No content of a file stops the reading of a board, and nothing of it can reach a terminal as it is."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path
from typing import Any, Iterator

import pytest
from edgetl_runtime.board import read_board
from edgetl_runtime.board.tree import Tree
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import boards
from tests.runtime.boards import Files, lay_out

HOSTILE = {
    "empty": b"",
    "NULs": b"\0" * 5000,
    "binary": bytes(random.Random(7).randrange(256) for _ in range(4000)),
    "huge": b"A" * (1 << 20),
    "one long line of entries": b"nvidia,p3767-0005\0" * 20_000,
    "escapes": b"\x1b[2J\x1b]0;owned\x07\r\n",
    "tabs": b"\ta\tb\t\0\tc\n",
    "UTF-16": "NVIDIA Jetson".encode("utf-16"),
    "digits": b"9" * 100_000,
    "ranges": b"0-9999," * 9000 + b"1",
}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)


@pytest.mark.parametrize("content", sorted(HOSTILE))
@pytest.mark.parametrize("board", ["orin nano", "raspberry pi 5", "x86"])
def test_one_hostile_file_spoils_only_its_own_fact(board: str, content: str, tmp_path: Path) -> None:
    files = boards.BOARDS[board]
    for i, path in enumerate(files):
        found = read_board(lay_out(tmp_path / str(i), {path: HOSTILE[content]}))
        for text in texts(dataclasses.asdict(found)):
            assert text.isprintable() and len(text) < 500
        assert len(found.identity.compatible) <= 64


def test_a_board_of_only_hostile_files_is_read(tmp_path: Path) -> None:
    for content in HOSTILE:
        found = read_board(lay_out(tmp_path / content, dict.fromkeys(boards.ORIN_NANO, HOSTILE[content])))
        assert found.release is None and all(zone.celsius is None for zone in found.zones)


def test_what_is_no_file_is_absent(tmp_path: Path) -> None:
    (tmp_path / "etc/nvpmodel.conf").mkdir(parents=True)
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    os.mkfifo(str(tmp_path / "proc/device-tree/model"))
    (tmp_path / "proc/device-tree/compatible").symlink_to("compatible")
    (tmp_path / "proc/meminfo").symlink_to("/dev/zero")
    (tmp_path / "sys/class").mkdir(parents=True)
    (tmp_path / "sys/class/thermal").write_text("no folder")
    found = read_board(tmp_path)
    assert (found.power, found.identity.model, found.memory_bytes, found.zones) == (None, None, None, ())


def test_a_file_is_read_to_a_bound(tmp_path: Path) -> None:
    lay_out(tmp_path, {"big": b"x" * (1 << 20)})
    tree = Tree(tmp_path)
    assert tree.read("big") == b"x" * (64 << 10)
    assert tree.line("big") == "x" * 256
    assert tree.read("none") is None and tree.read("a\0b") is None and not tree.has("a\0b")
    assert tree.names("big") == () and tree.strings("none") == ()


@given(st.dictionaries(st.sampled_from(sorted(boards.ORIN_NANO)), st.binary(max_size=300)))
def test_any_bytes_in_any_files_are_read(tmp_path_factory: Any, changes: Files) -> None:
    root = tmp_path_factory.mktemp("board")
    found = read_board(lay_out(root, {**boards.ORIN_NANO, **changes}))
    assert all(text.isprintable() for text in texts(dataclasses.asdict(found)))
