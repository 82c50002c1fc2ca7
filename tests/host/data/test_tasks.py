from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgetl
from edgetl.data import Dataset, TargetDataset, Task
from edgetl.errors import DatasetError


def _table(folder: Path, rows: list[tuple[str, ...]], header: str = "path,kind,angle,drive") -> Path:
    for row in rows:
        Image.new("L", (4, 4), 7 * len(row[0])).save(folder / row[0])
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return folder / "t.csv"


def _rows(count: int = 12) -> list[tuple[str, ...]]:
    return [(f"{i}.png", ["a", "b", ""][i % 3], "" if i % 4 == 1 else f"{i / 10}", f"d{i // 4}") for i in range(count)]


def test_empty_cells_are_missing_labels_and_nothing_else_is(tmp_path) -> None:
    data = edgetl.dataset(_table(tmp_path, _rows()), tasks={"kind": "class", "angle": "number"})
    assert data.tasks == (Task("kind", ("a", "b")), Task("angle")) and data.truth.shape == (12, 2)
    assert data.known == {"kind": 8, "angle": 9}
    assert data.truth[0].tolist() == [0.0, 0.0] and np.isnan(data.truth[5]).tolist() == [True, True]


def test_numbers_are_held_out_in_time_and_every_task_holds_out_the_same_samples(tmp_path) -> None:
    data = edgetl.dataset(_table(tmp_path, _rows()), tasks={"kind": "class", "angle": "number"}, holdout=0.25)
    assert data.held_out.indices == (9, 10, 11)
    kind, angle = data.task("kind"), data.task("angle")
    assert isinstance(kind, Dataset) and isinstance(angle, TargetDataset)
    assert set(kind.held_out.indices) == {9, 10} and set(angle.held_out.indices) == {10, 11}
    assert not set(angle.training.indices) & set(data.held_out.indices)
    assert len(kind) == 8 and kind.labels[:2] == ("a", "b") and [o.name for o in angle.outputs] == ["angle"]


def test_classes_are_held_out_by_class_or_by_group(tmp_path) -> None:
    table = _table(tmp_path, _rows(24))
    data = edgetl.dataset(table, tasks={"kind": "class"}, holdout=0.25, seed=3)
    other = edgetl.dataset(table, tasks={"kind": "class"}, holdout=0.25, seed=4)
    assert data.held_out.indices != other.held_out.indices
    assert sorted(data.training.indices + data.held_out.indices) == list(range(24))
    grouped = edgetl.dataset(table, tasks={"kind": "class", "angle": "number"}, split="group:drive")
    drives = {index // 4 for index in grouped.held_out.indices}
    assert drives and all(4 * d + i in grouped.held_out.indices for d in drives for i in range(4))
    number = grouped.task("angle")
    assert set(number.held_out.indices) <= set(grouped.held_out.indices) and len(number.held_out)
    assert not set(number.training.indices) & set(grouped.held_out.indices)


def test_arrays_have_missing_labels_too_and_the_hash_knows_them() -> None:
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    kinds, angle = ["a", None, "b", "a", None, "b"], np.array([0.1, np.nan, 0.3, 0.4, 0.5, 0.6])
    data = edgetl.dataset(frames, tasks={"kind": kinds, "angle": angle})
    assert data.known == {"kind": 4, "angle": 5}
    other = edgetl.dataset(frames, tasks={"kind": kinds, "angle": np.nan_to_num(angle)})
    assert data.hash == edgetl.dataset(frames, tasks={"kind": kinds, "angle": angle}).hash != other.hash


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ({"kind": "label"}, "class or number"),
        (["kind"], "tasks are a dict"),
        ({"colour": "class"}, "no column colour; it has path, kind"),
        ({"kind": "number"}, "line 2: kind is 'a'; give a number"),
        ({"drive": "class"}, "drive' has 1 classes"),
    ],
)
def test_what_is_wrong_with_tasks_is_said(tmp_path, tasks, why: str) -> None:
    with pytest.raises(DatasetError, match=why):
        edgetl.dataset(_table(tmp_path, _rows(4)), tasks=tasks)


def test_a_task_that_is_not_there_is_named() -> None:
    data = edgetl.dataset(np.zeros((4, 2, 2), np.uint8), tasks={"kind": ["a", "b", "a", "b"]})
    with pytest.raises(DatasetError, match="no task 'angle'; it has kind"):
        data.task("angle")
    with pytest.raises(DatasetError, match="give tasks alone"):
        edgetl.dataset(np.zeros((4, 2, 2), np.uint8), list("abab"), tasks={"kind": list("abab")})
