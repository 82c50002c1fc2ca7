"""Splits by group, time and domain; tables, boxes and long lists as datasets."""

from __future__ import annotations

import importlib.util
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.data import dataset
from edgetl.data.paths import PathTable
from edgetl.errors import DatasetError, MissingPackageError


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    """Twenty frames of four drives, listed with drive and day."""
    rows = ["path,label,drive,day"]
    for i in range(20):
        Image.fromarray(np.full((12, 16, 3), i, np.uint8)).save(tmp_path / f"d{i // 5}_{i:02}.png")
        rows.append(f"d{i // 5}_{i:02}.png,{'xy'[i % 2]},drive {i // 5},2024-01-{i + 1:02}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    return tmp_path / "list.csv"


@pytest.mark.parametrize("split", ["group:drive", r"group:^d\d", "group"])
def test_a_group_is_on_one_side_only(drives: Path, split: str) -> None:
    data = dataset(drives, split=split)
    sides = [{index // 5 for index in part.indices} for part in (data.training, data.held_out)]
    assert sides[1] and not sides[0] & sides[1]


@pytest.mark.parametrize("split", ["time:day", "time"])
def test_the_last_in_time_are_held_out(drives: Path, split: str) -> None:
    assert dataset(drives, split=split).held_out.indices == (16, 17, 18, 19)
    assert len(dataset(drives, split=split).training.held_out) == 4  # such as the samples that early stopping needs
    assert dataset(drives, split=split, holdout=0.0).held_out.indices == ()


def test_a_class_that_comes_last_keeps_samples_to_train_on() -> None:
    data = dataset(np.zeros((20, 3)), ["early"] * 15 + ["late"] * 5, split="time", by=range(20), holdout=0.3)
    assert data.training.counts == {"early": 14, "late": 4} and data.held_out.indices == (14, 19)


def test_a_domain_is_held_out_by_name(drives: Path) -> None:
    assert dataset(drives, split="domain:drive=drive 2").held_out.indices == (10, 11, 12, 13, 14)
    with pytest.raises(DatasetError, match="no sample is of drive 9; there are drive 0"):
        dataset(drives, split="domain:drive=drive 9")
    with pytest.raises(DatasetError, match="nothing is left to train x, y on"):
        dataset(drives, split="domain:drive=drive 0,drive 1,drive 2,drive 3")


@pytest.mark.parametrize("split", ["halves", "random:x", "domain:drive", "domain:=a", "group:(", "time:never"])
def test_a_split_that_cannot_be_is_refused(drives: Path, split: str) -> None:
    with pytest.raises(DatasetError):
        dataset(drives, split=split)


def boxes(folder: Path, **changes: object) -> Path:
    box = {"image_id": 0, "category_id": 3, "bbox": [2, 3, 10.4, 9]}
    document = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(6)],
        "categories": [{"id": 3, "name": "cup"}, {"id": 9, "name": "plate"}],
        "annotations": [{**box, "image_id": i // 2, "category_id": (3, 9)[i % 2]} for i in range(12)]
        + [{**box, "iscrowd": 1}, {**box, "bbox": [0, 0, 3, 30]}, *([{**box, **changes}] if changes else [])],
    }
    for i in range(6):
        picture = np.zeros((20, 30, 3), np.uint8)
        picture[3:12, 2:12] = 10 * i
        Image.fromarray(picture).save(folder / f"{i}.png")
    path = folder / "boxes.json"
    path.write_text(json.dumps(document))
    return path


def test_each_box_is_a_sample_and_those_of_one_image_stay_together(tmp_path: Path) -> None:
    data = dataset(boxes(tmp_path), holdout=0.3)
    assert data.counts == {"cup": 6, "plate": 6} and data.skipped == {"crowd": 1, "too small": 1}
    for number, (crop, _) in enumerate(data):
        assert crop.shape == (9, 10, 3) and (crop == 10 * (number // 2)).all()
    sides = [{index // 2 for index in part.indices} for part in (data.training, data.held_out)]
    assert sides[1] and not sides[0] & sides[1]


@pytest.mark.parametrize(
    "changes", [{"bbox": [0, 0, 9]}, {"bbox": [0, 0, float("nan"), 9]}, {"category_id": 4}, {"image_id": 77}]
)
def test_a_box_of_nothing_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(DatasetError, match="annotation 14"):
        dataset(boxes(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 1, "categories": [], "annotations": []}', "[" * 5000])
def test_what_is_no_annotation_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DatasetError):
        dataset(path)


def test_an_npz_is_samples_labels_and_groups(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", samples=np.zeros((12, 4)), labels=np.arange(12) % 2, person=np.arange(12) // 3)
    data = dataset(tmp_path / "a.npz", split="group:person")
    assert len(data) == 12 and len({i // 3 for i in data.held_out.indices}) == len(data.held_out) // 3
    np.savez(tmp_path / "b.npz", samples=np.array([{}]), labels=[1])
    with pytest.raises(DatasetError, match="cannot be read as arrays"):
        dataset(tmp_path / "b.npz")


def test_a_row_of_a_long_csv_takes_little_more_than_its_path(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        for i in range(50_000):
            file.write(f"pictures/of/the/day/{i:08}.png,class {i % 7}\n")
    tracemalloc.start()
    try:
        data = dataset(path, verify=False)
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data) == 50_000 and data.reader.paths[49_999] == tmp_path / "pictures/of/the/day/00049999.png"
    assert size < 100 * 50_000 and peak < 150 * 50_000


def test_a_table_of_paths_is_a_sequence_of_them(tmp_path: Path) -> None:
    table = PathTable(tmp_path, ["a", "ü/b", "/c"])
    assert list(table) == [tmp_path / "a", tmp_path / "ü/b", Path("/c")] and table[-1] == Path("/c")
    assert table[:2] == [tmp_path / "a", tmp_path / "ü/b"] and table == PathTable(tmp_path, ["a", "ü/b", "/c"])
    with pytest.raises(IndexError):
        table[3]


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="the package datasets is installed")
def test_a_table_of_a_package_that_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(MissingPackageError, match="pip install datasets"):
        dataset("hf:beans")


def test_a_saved_hugging_face_table_is_a_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    Image.fromarray(np.full((5, 6, 3), 9, np.uint8)).save(tmp_path / "a.png")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["u", "v"])})
    rows = {"image": [{"bytes": (tmp_path / "a.png").read_bytes(), "path": None}] * 8, "label": [0, 1] * 4}
    arrow = datasets.table.InMemoryTable(pyarrow.table(rows, schema=features.arrow_schema))
    table = datasets.Dataset(arrow, info=datasets.DatasetInfo(features=features), fingerprint="test")
    data = dataset(table)
    assert data.counts == {"u": 4, "v": 4} and next(iter(data))[0].shape == (5, 6, 3)
    table.save_to_disk(str(tmp_path / "saved"))
    assert dataset(f"hf:{tmp_path / 'saved'}").counts == data.counts
