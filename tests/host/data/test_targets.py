"""Samples with numbers: read from a CSV or arrays, in the order of time, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.labels import parsed_targets
from edgetl_runtime.types import Output
from PIL import Image

import edgetl
from edgetl.errors import DatasetError


def drive(folder: Path, count: int = 10, header: str = "path,angle,throttle") -> Path:
    lines = [header]
    for i in range(count):
        Image.fromarray(np.full((4, 6, 3), i, np.uint8)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{i / 10},{1 - i / 20}")
    (folder / "drive.csv").write_text("\n".join(lines) + "\n")
    return folder / "drive.csv"


def test_a_csv_gives_frames_with_their_numbers_in_the_order_of_its_lines(tmp_path: Path) -> None:
    data = edgetl.dataset(drive(tmp_path), targets=["angle", Output("throttle", "share", 0.0, 1.0)])
    assert [output.name for output in data.outputs] == ["angle", "throttle"] and data.outputs[1].high == 1.0
    assert len(data) == 10 and data.name == "drive" and data.skipped == {}
    for i, (frame, text) in enumerate(data):
        assert (frame == i).all() and parsed_targets(text, 2) == (i / 10, 1 - i / 20)


def test_the_last_in_time_are_held_out(tmp_path: Path) -> None:
    data = edgetl.dataset(drive(tmp_path), targets=["angle"], holdout=0.3)
    assert (len(data.training), len(data.held_out)) == (7, 3)
    assert data.training.targets[:, 0].max() < data.held_out.targets[:, 0].min()
    assert [int(frame[0, 0, 0]) for frame, _ in data.held_out] == [7, 8, 9]
    whole = edgetl.dataset(drive(tmp_path), targets=["angle"], holdout=0.0)
    assert (len(whole.training), len(whole.held_out)) == (10, 0)


def test_arrays_have_a_column_for_each_name() -> None:
    frames = np.zeros((5, 4, 4, 3), np.uint8)
    data = edgetl.dataset(frames, targets={"speed": np.arange(5), "turn": np.ones(5)})
    assert data.targets.tolist() == [[float(i), 1.0] for i in range(5)]
    same = edgetl.dataset(list(frames), targets={"speed": range(5), "turn": np.ones(5)})
    other = edgetl.dataset(list(frames), targets={"speed": range(1, 6), "turn": np.ones(5)})
    assert data.hash == same.hash != other.hash


def test_pictures_that_are_missing_or_damaged_are_counted(tmp_path: Path) -> None:
    path = drive(tmp_path)
    (tmp_path / "3.png").write_bytes(b"no image")
    (tmp_path / "5.png").unlink()
    data = edgetl.dataset(path, targets=["angle"])
    assert len(data) == 8 and data.skipped == {"damaged": 1, "missing": 1}


@pytest.mark.parametrize(
    ("targets", "header", "what"),
    [
        (["speed"], "path,angle,throttle", "needs the columns path and speed"),
        (["angle"], "file,angle,throttle", "needs the columns path and angle"),
        ([], "path,angle,throttle", "names of columns"),
        ("angle", "path,angle,throttle", "names of columns"),
        (["angle", "angle"], "path,angle,throttle", "no two of one name"),
        (["1st"], "path,angle,throttle", "named by a letter"),
        ([Output("angle", "", 0.0, 0.5)], "path,angle,throttle", "angle of sample 7 is 0.6, not a number.* 0 to 0.5"),
        ({"angle": [1.0]}, "path,angle,throttle", "come as a CSV"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(targets: Any, header: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=what):
        edgetl.dataset(drive(tmp_path, header=header), targets=targets)


def test_more_that_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    path, frames = drive(tmp_path), np.zeros((5, 4, 4, 3), np.uint8)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (path, {"labels": ["a"], "targets": ["angle"]}, "not both"),
        (tmp_path, {"targets": ["angle"]}, "come as a CSV"),
        (tmp_path / "none.csv", {"targets": ["angle"]}, "cannot be read"),
        (frames, {"targets": {"speed": [1.0, 2.0]}}, "one number a sample"),
        (frames, {"targets": ["speed"]}, "dict"),
        (frames, {"targets": {"speed": [1.0, 2.0, np.nan, 4.0, 5.0]}}, "speed of sample 3 is nan"),
        (path, {"targets": ["angle"], "holdout": 1.0}, "holdout"),
    ]
    for source, options, what in cases:
        with pytest.raises(DatasetError, match=what):
            edgetl.dataset(source, **options)
    path.write_text("path,angle\n0.png,left\n")
    with pytest.raises(DatasetError, match="line 2: each of angle must be a number"):
        edgetl.dataset(path, targets=["angle"])
