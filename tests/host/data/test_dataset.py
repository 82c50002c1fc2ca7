from __future__ import annotations

import logging
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgetl.data import dataset
from edgetl.errors import DatasetError


def _save(path, seed=0, side=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for i in range(10):
        _save(root / "Fruit" / "Apple" / f"{i}.png", i)
        _save(root / "Fruit" / "Pear" / f"{i}.png", 100 + i)
    for i in range(3):
        _save(root / "Paper" / f"{i}.png", 200 + i)
    return root


def test_a_folder_that_holds_images_is_a_class_named_by_its_path(photos):
    data = dataset(photos)
    assert data.classes == ("Fruit/Apple", "Fruit/Pear", "Paper")
    assert data.counts == {"Fruit/Apple": 10, "Fruit/Pear": 10, "Paper": 3}
    samples = list(data)
    assert len(samples) == len(data) == 23
    assert all(sample.shape == (6, 6, 3) and sample.dtype == np.uint8 for sample, _ in samples)
    np.testing.assert_array_equal(samples[0][0], np.asarray(Image.open(photos / "Fruit/Apple/0.png")))


def test_the_parts_are_disjoint_complete_and_stratified(photos):
    data = dataset(photos, holdout=0.3)
    training, held_out = data.training, data.held_out
    assert Counter(held_out.labels) == {"Fruit/Apple": 3, "Fruit/Pear": 3, "Paper": 1}
    assert sorted(training.indices + held_out.indices) == list(data.indices)
    assert not set(training.indices) & set(held_out.indices)
    assert data.holdout == 0.3 and len(list(training)) == 16


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    holdout=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_every_class_keeps_a_training_sample_and_gives_its_share(counts, holdout, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    data = dataset(np.zeros((len(labels), 2)), labels, holdout=holdout, seed=seed)
    kept = data.training.counts
    assert set(kept) == set(data.classes)
    for label, count in enumerate(counts):
        assert kept[label] == 1 or abs((count - kept[label]) - count * holdout) <= 0.5
    assert sorted(data.training.indices + data.held_out.indices) == list(range(len(labels)))


def test_the_split_is_the_seeds_and_a_class_keeps_its_own_when_another_grows(photos):
    first = dataset(photos, seed=1).held_out

    def pears(part):
        rows = zip(part.indices, part.labels, strict=True)
        return {part.reader.paths[i].name for i, label in rows if label == "Fruit/Pear"}

    assert dataset(photos, seed=1).held_out.indices == first.indices
    assert any(dataset(photos, seed=seed).held_out.indices != first.indices for seed in range(2, 6))
    for i in range(7):
        _save(photos / "Fruit" / "Apple" / f"new{i}.png", 300 + i)
    assert pears(dataset(photos, seed=1).held_out) == pears(first)


def test_the_hash_follows_content_and_labels_and_not_order(photos, tmp_path):
    before = dataset(photos).hash
    copy = shutil.copytree(photos, tmp_path / "copy")
    assert dataset(copy).hash == before
    arrays = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    labels, order = list("ababab"), [5, 3, 1, 0, 2, 4]
    assert dataset(arrays, labels).hash == dataset(arrays[order], [labels[i] for i in order]).hash
    assert dataset(arrays, labels).hash != dataset(arrays, list("babaab")).hash
    assert dataset(arrays, [0, 1] * 3).hash != dataset(arrays, ["0", "1"] * 3).hash
    _save(copy / "Paper" / "0.png", seed=999)
    assert dataset(copy).hash != before


def test_an_unreadable_image_among_good_ones_is_skipped_and_counted(photos, caplog):
    (photos / "Paper" / "notes.jpg").write_text("no picture")
    cut = _save(photos / "Paper" / "cut.png", side=64)
    cut.write_bytes(cut.read_bytes()[:5000])
    with caplog.at_level(logging.WARNING, "edgetl.data"):
        data = dataset(photos)
        assert data.skipped == {"damaged": 1}
        assert len(list(data)) == len(list(data)) == 23
    assert data.skipped == {"damaged": 2}
    assert data.training.skipped == data.skipped
    assert sum("notes.jpg" in message for message in caplog.messages) == 1
    assert sum("cut.png" in message for message in caplog.messages) == 1


def test_hidden_files_and_images_outside_every_class_are_left_out(photos, caplog):
    _save(photos / "preview.png")
    _save(photos / ".thumbnails" / "0.png")
    (photos / "Paper" / "._0.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "edgetl.data"):
        data = dataset(photos)
    assert len(data) == 23 and data.skipped == {}
    assert any("preview.png lies in no class folder" in message for message in caplog.messages)


def test_labels_choose_folders_and_a_missing_one_is_named(photos):
    assert dataset(photos, ["Paper", "Fruit/Pear"]).classes == ("Fruit/Pear", "Paper")
    with pytest.raises(DatasetError, match=r"no images for Glass; it has Fruit/Apple, Fruit/Pear, Paper"):
        dataset(photos, ["Paper", "Glass"])


def test_an_empty_class_folder_is_named(photos):
    (photos / "Glass").mkdir()
    with pytest.raises(DatasetError, match="no readable image for Glass"):
        dataset(photos)


def test_a_class_whose_every_image_is_damaged_is_named(photos):
    for path in (photos / "Paper").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="no readable image for Paper"):
        dataset(photos)


def test_folders_that_cannot_be_a_dataset_are_refused(photos, tmp_path):
    with pytest.raises(DatasetError, match="no such dataset"):
        dataset(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DatasetError, match=r"neither a folder nor a \.csv file"):
        dataset(tmp_path / "notes.txt")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="no images in nothing"):
        dataset(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="one class only, Apple"):
        dataset(shutil.copytree(photos / "Fruit" / "Apple", tmp_path / "one" / "Apple").parent)
    with pytest.raises(DatasetError, match="no images in Apple"):
        dataset(photos / "Fruit" / "Apple")
    with pytest.raises(DatasetError, match="holdout"):
        dataset(photos, holdout=1.0)


@pytest.mark.parametrize("header", ["", "label,shop,path\n"])
def test_a_csv_gives_the_images_it_names(photos, header):
    row = "{1},x,{0}\n" if header else "{0},{1}\n"
    lines = [row.format(f"Paper/{i}.png", "old" if i else "new") for i in range(3)]
    (photos / "index.csv").write_text("\ufeff" + header + "".join(lines) + "\n" + row.format("Paper/9.png", "old"))
    data = dataset(photos / "index.csv")
    assert data.labels == ("new", "old", "old")
    assert data.skipped == {"missing": 1}
    np.testing.assert_array_equal(next(iter(data))[0], np.asarray(Image.open(photos / "Paper/0.png")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Paper/0.png,a,b\n", "line 1 has 3 columns"),
        ("Paper/0.png,a\n,b\n", "line 2 has an empty path"),
        ("path,label\nPaper/0.png,\n", "line 2 has an empty label"),
        ("path,label\nPaper/0.png\n", "line 2 has 1 columns"),
        ("", "no images in index.csv"),
    ],
)
def test_a_csv_that_is_wrong_says_where(photos, text, message):
    (photos / "index.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        dataset(photos / "index.csv")


def test_a_csv_brings_its_own_labels_and_must_be_text(photos):
    (photos / "index.csv").write_bytes(b"Paper/0.png,\xff\xfe\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        dataset(photos / "index.csv")
    with pytest.raises(DatasetError, match="stand in the CSV"):
        dataset(photos / "index.csv", ["a"])


def test_arrays_keep_their_dtype_shape_and_labels():
    frames = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    data = dataset(frames, np.array([0, 1, 0, 1]))
    assert data.classes == (0, 1) and all(type(label) is int for label in data.classes)
    for (sample, label), frame, expected in zip(data, frames, [0, 1, 0, 1], strict=True):
        np.testing.assert_array_equal(sample, frame)
        assert sample.dtype == np.uint8 and label == expected
    windows = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 3, 2)
    sample, label = next(iter(dataset(windows, np.array(list("abab")))))
    assert sample.dtype == np.float32 and sample.shape == (3, 2) and type(label) is str
    sizes = [np.zeros((4, 4, 3), np.uint8), np.zeros((5, 7, 3), np.uint8)]
    assert [sample.shape for sample, _ in dataset(sizes, ["a", "b"])] == [(4, 4, 3), (5, 7, 3)]


@pytest.mark.parametrize(
    ("arrays", "labels", "message"),
    [
        (np.zeros((3, 2)), ["a", "b"], "3 samples and 2 labels"),
        (np.zeros((3, 2)), None, "need labels"),
        (np.zeros((2, 2)), ["a", "a"], "one class only, a"),
        (np.zeros((0, 2)), [], "no samples"),
        (np.zeros((2, 2)), ["a", ""], "label 1 is ''"),
        (np.zeros((2, 2)), [0.5, 1.0], "label 0 is 0.5"),
        (np.zeros((2, 2)), ["a", 1], "mix text and integers"),
        (np.zeros(3), ["a", "b", "a"], r"numbers of shape \(N"),
        (np.array([["x"], ["y"]]), ["a", "b"], "must be numbers"),
    ],
)
def test_arrays_that_cannot_be_a_dataset_are_refused(arrays, labels, message):
    with pytest.raises(DatasetError, match=message):
        dataset(arrays, labels)


def test_the_shop_photographs_are_fifty_classes_split_the_same_everywhere(data_folder):
    data = dataset(data_folder / "grocery_fruitveg" / "train")
    assert len(data.classes) == 50 and "Fruit/Apple/Granny-Smith" in data.classes
    assert data.skipped == {}
    sample, label = next(iter(data.held_out))
    assert sample.ndim == 3 and sample.dtype == np.uint8 and label in data.classes
