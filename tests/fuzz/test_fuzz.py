"""What fuzzing found once, and the seeds of every target: only EdgetlError comes out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

pytest.importorskip("cryptography")
pytest.importorskip("mcap_ros2")

from edgetl_runtime.errors import EdgetlError

from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).resolve().parent / "found"


def _inputs() -> Iterator[Tuple[str, Path]]:
    for path in sorted(FOUND.glob("*/*")):
        yield path.parent.name, path


@pytest.mark.parametrize(("name", "path"), list(_inputs()), ids=lambda value: getattr(value, "name", value))
def test_an_input_that_broke_something_once_is_refused(name: str, path: Path) -> None:
    with contextlib.suppress(EdgetlError):
        TARGETS[name].load()(path.read_bytes())


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_target_takes_its_seeds_and_pieces_of_them(name: str) -> None:
    target = TARGETS[name].load()
    seeds: List[bytes] = TARGETS[name].seeds()
    assert seeds
    for data in seeds:
        for piece in (data, data[: len(data) // 2], data[1:], b""):
            with contextlib.suppress(EdgetlError):
                target(piece)
