"""Files of samples that are damaged or lie end in a DatasetError, or their sample is left out."""

from __future__ import annotations

import io
import json
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.windows import WindowSpec
from PIL import Image

import edgetl
from edgetl.errors import DatasetError


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WHOLE = _npz(samples=np.zeros((8, 4, 4, 3), np.uint8), labels=np.array(list("aabbaabb")))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PK\x03\x04", WHOLE[:-30], WHOLE[: len(WHOLE) // 2], WHOLE.replace(b"PK\x01\x02", b"PK\x01\x03"),
        WHOLE[:60] + bytes(40) + WHOLE[100:], _npy(np.zeros(3)), b"\x80\x04.",
    ],
    ids=["empty", "four bytes", "no end", "half", "directory", "stream", "one array", "pickle"],
)  # fmt: skip
def test_arrays_that_are_none_are_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(DatasetError, match=r"a\.npz cannot be read as arrays: ."):
        edgetl.dataset(tmp_path / "a.npz")


def _coco(folder: Path, **changes: Any) -> Path:
    Image.new("RGB", (24, 20)).save(folder / "0.png")
    document: dict[str, Any] = {
        "images": [{"id": 0, "file_name": "0.png"}],
        "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}],
        "annotations": [{"image_id": 0, "category_id": 1 + i % 2, "bbox": [1, 1, 9, 9]} for i in range(4)],
    }
    path = folder / "c.json"
    path.write_text(json.dumps({**document, **changes}))
    return path


def _box(*sides: Any) -> dict[str, Any]:
    return {"image_id": 0, "category_id": 1, "bbox": sides}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": None}, "no COCO annotation file"),
        ({"images": [{"id": 0, "file_name": "\ud800.png"}]}, "no COCO annotation file"),
        ({"annotations": [_box(10**400, 1, 9, 9)]}, "needs bbox"),
        ({"annotations": [_box(1e300, 1, 9, 9)]}, "four numbers of pixels"),
        ({"annotations": [_box(float("nan"), 1, 9, 9)]}, "four numbers of pixels"),
        ({"categories": [{"id": 1, "name": "\ud800"}, {"id": 2, "name": "y"}]}, "no device can keep this class"),
        ({"categories": [{"id": 1, "name": "x\ny"}, {"id": 2, "name": "y"}]}, "no device can keep this class"),
    ],
)
def test_boxes_that_lie_are_named(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=words):
        edgetl.dataset(_coco(tmp_path, **changes), images=tmp_path)


def _wav(samples: int = 800) -> bytearray:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.arange(samples, dtype="<i2").tobytes())
    return bytearray(file.getvalue())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [(34, 64, "64 bits"), (24, 0, "at 0 Hz"), (16, 255, "PCM is read"), (20, 3, "PCM is read")],
    ids=["bits", "rate", "a chunk beyond the file", "floats"],
)
def test_a_recording_that_lies_is_left_out(
    place: int, value: int, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a/0", "a/1", "b/0", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.wav").write_bytes(_wav())
    data = _wav()
    data[place : place + 2] = value.to_bytes(2, "little")
    (tmp_path / "a/0.wav").write_bytes(data)
    found = edgetl.dataset(tmp_path, window=WindowSpec(length=400, stride=200, rate_hz=8000.0))
    assert found.skipped == {"damaged": 1} and words in caplog.text


def test_a_list_of_recordings_that_is_damaged_further_down_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"path,label\n" + b"a.wav,a\n" * 2000 + b"\xff,b\n")
    with pytest.raises(DatasetError, match=r"l\.csv cannot be read as a CSV in UTF-8"):
        edgetl.dataset(tmp_path / "l.csv", window=WindowSpec(length=400, stride=200, rate_hz=8000.0))


@pytest.mark.parametrize("number", ["inf", "1e400", "nan"])
def test_an_infinite_number_is_no_target(number: str, tmp_path: Path) -> None:
    Image.new("RGB", (24, 20)).save(tmp_path / "0.png")
    (tmp_path / "t.csv").write_text(f"path,angle\n0.png,0.5\n0.png,{number}\n")
    with pytest.raises(DatasetError, match=r"angle of sample 2 is (inf|nan), not a number"):
        edgetl.dataset(tmp_path / "t.csv", targets=["angle"])


def test_targets_of_arrays_are_numbers() -> None:
    with pytest.raises(DatasetError, match="one number a sample"):
        edgetl.dataset(np.zeros((2, 4)), targets={"angle": ["left", "right"]})


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\tb", "é".encode() * 120 + b"/" + b"x" * 20])
def test_a_folder_that_no_class_can_be_named_by_is_named_at_once(name: bytes, tmp_path: Path) -> None:
    for folder in (name, b"b"):
        path = tmp_path / os.fsdecode(folder)
        path.mkdir(parents=True)
        Image.new("RGB", (24, 20)).save(path / "0.png")
    with pytest.raises(DatasetError, match="no device can keep this class"):
        edgetl.dataset(tmp_path)


def test_a_column_of_texts_is_found_in_any_case(tmp_path: Path) -> None:
    rows = "".join(f"hello {i},{'ab'[i % 2]},p{i % 3}\n" for i in range(12))
    (tmp_path / "x.csv").write_text("Text,Label,Person\n" + rows)
    assert edgetl.dataset(tmp_path / "x.csv", split="group:Person").groups[:4] == ("p0", "p1", "p2", "p0")
