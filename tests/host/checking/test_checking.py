"""What `edgetl data check` promises: planted faults are named, and what is in order is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgetl_runtime.preprocess import ArrayPreprocess
from PIL import Image

import edgetl
from edgetl.backbones import from_module
from edgetl.checking import CheckResult, check_data, check_page
from edgetl.checking.crops import part_of, small_grey
from edgetl.cli import main
from edgetl.errors import DatasetError


def scene(seed: int, side: int = 96) -> Image.Image:
    """A picture like no other: coarse and fine structure in colour."""
    random = np.random.default_rng(seed)
    layers = [Image.fromarray(random.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((side, side)) for n in (4, 9)]
    return Image.blend(*layers, 0.4)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for i in range(24):
        save(scene(i), root / ("cup" if i % 2 else "plate") / f"{i * 7919 % 1000}x.png")
    return root


def check(path: Path, **options: Any) -> CheckResult:
    return check_data(edgetl.dataset(path, verify=False), **options)


def kinds(result: CheckResult) -> set[str]:
    return {finding.kind for finding in result.findings if finding.severity != "note"}


def test_nothing_is_said_against_pictures_that_are_in_order(photos: Path) -> None:
    result = check(photos)
    assert kinds(result) == set() and result.faults == 0 and not result.copies and not result.sequences
    assert result.splits == {"training": 20, "held out": 4}


@pytest.mark.parametrize("how", ["bytes", "jpeg", "smaller"])
def test_a_copy_in_another_split_is_found_however_it_was_saved(photos: Path, tmp_path: Path, how: str) -> None:
    first = sorted((photos / "cup").iterdir())[0]
    image = Image.open(first)
    target = tmp_path / "test" / "cup" / f"copy.{'png' if how == 'bytes' else 'jpg'}"
    save(image.resize((48, 48)) if how == "smaller" else image, target, **({} if how == "bytes" else {"quality": 60}))
    save(scene(99), tmp_path / "test" / "plate" / "new.png")
    if how == "bytes":
        target.write_bytes(first.read_bytes())
    result = check(photos, others={"test": edgetl.dataset(tmp_path / "test", holdout=0, verify=False)})
    (group,) = result.copies
    assert {member.name for member in group.members} == {f"cup/{first.name}", f"cup/{target.name}"}
    assert group.across and group.kind == ("same bytes" if how == "bytes" else "same picture")
    assert "copies across splits" in kinds(result)


def test_one_picture_with_two_labels_is_a_fault(photos: Path) -> None:
    first = sorted((photos / "cup").iterdir())[0]
    (photos / "plate" / "again.png").write_bytes(first.read_bytes())
    assert "one picture, two labels" in kinds(check(photos))


def test_a_crop_and_a_mirror_image_are_parts_and_another_picture_is_not() -> None:
    whole = scene(1, 200)
    grey = small_grey(np.asarray(whole))
    crop = whole.crop((20, 4, 190, 174))
    assert part_of(grey, small_grey(np.asarray(crop))) > 0.97 > part_of(grey, small_grey(np.asarray(scene(2, 200))))
    assert part_of(small_grey(np.asarray(whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT))), grey) > 0.99


def drive(folder: Path, count: int = 60) -> None:
    """Frames of a camera that pans over one large picture."""
    wide = scene(7, 700)
    for i in range(count):
        save(wide.crop((i * 8, 100, i * 8 + 96, 196)), folder / "road" / f"frame_{i:04}.png")


def test_a_sequence_torn_apart_is_found_and_a_split_by_time_mends_it(photos: Path) -> None:
    drive(photos)
    torn = check(photos)
    (run,) = torn.sequences
    assert run.samples == 60 and run.torn >= 8 and run.neighbourly > 0.9 > run.chance
    assert "leak by sequence" in kinds(torn)
    data = edgetl.dataset(photos, split=r"time:(\d+)[^\d]*$", verify=False)
    mended = check_data(data)
    assert mended.sequences[0].torn <= 2


def test_numbers_alone_are_no_sequence(tmp_path: Path) -> None:
    for i in range(40):
        save(scene(100 + i), tmp_path / "ab"[i % 2] / f"shot_{i:03}.png")
    assert check(tmp_path).sequences == ()


def test_unreadable_files_small_classes_and_skew_are_named(photos: Path) -> None:
    (photos / "cup" / "cut.png").write_bytes(b"\x89PNG")
    for i in range(3):
        save(scene(300 + i), photos / "rare" / f"{'abc'[i]}.png")
    for i in range(40):
        save(scene(400 + i), photos / "cup" / f"more{i * 7919 % 1000}x.png")
    result = check(photos)
    assert [name for name, _ in result.unreadable] == ["cup/cut.png"]
    assert {"unreadable", "small class"} <= kinds(result)
    assert [row.label for row in result.classes if row.few] == ["rare"]
    assert "class skew" in {finding.kind for finding in result.findings}


def test_darker_and_smaller_frames_of_the_device_are_told_and_the_same_are_not(photos: Path, tmp_path: Path) -> None:
    for i in range(30):
        save(scene(500 + i).resize((40, 40)).point(lambda v: v // 2), tmp_path / "dark" / f"{i}.png")
        save(scene(600 + i), tmp_path / "same" / f"{i}.png")
    dark = check(photos, device_data=tmp_path / "dark").device
    same = check(photos, device_data=tmp_path / "same").device
    assert dark is not None and same is not None
    assert {"brightness", "shorter side"} <= {one.figure for one in dark.differences if one.differs}
    assert not any(one.differs for one in same.differences)


def test_planted_wrong_labels_are_found_by_features() -> None:
    random = np.random.default_rng(0)
    centres = 4 * random.normal(size=(4, 12))
    codes = np.repeat(np.arange(4), 40)
    samples = (centres[codes] + random.normal(size=(160, 12))).astype(np.float32)
    labels = [f"class {code}" for code in codes]
    wrong = set(range(0, 160, 20))
    for i in wrong:
        labels[i] = f"class {(codes[i] + 1) % 4}"
    extractor = from_module(torch.nn.Flatten(), ArrayPreprocess((12,)), name="as it is")
    result = check_data(edgetl.dataset(samples, labels), extractor=extractor)
    assert {suspect.sample.row for suspect in result.suspects} == wrong
    assert all(suspect.likelier == f"class {codes[suspect.sample.row]}" for suspect in result.suspects)
    assert result.judged == 160


def test_the_command_says_it_in_its_exit_code_as_json_and_on_a_page_that_loads_nothing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "check.html"
    assert main(["data", "check", str(photos), "--out", str(out)]) == 0
    first = sorted((photos / "cup").iterdir())[0]
    (photos / "plate" / "<b>.png").write_bytes(first.read_bytes())
    capsys.readouterr()
    assert main(["data", "check", str(photos), "--out", str(out), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert [finding["kind"] for finding in said["findings"] if finding["severity"] == "fault"]
    page = out.read_text(encoding="utf-8")
    assert "<b>.png" not in page.replace("&lt;b&gt;.png", "") and "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert main(["data", "check", str(tmp_path / "absent"), "--out", str(out)]) == 1


def test_a_split_must_not_take_the_name_of_a_part(photos: Path) -> None:
    with pytest.raises(DatasetError, match="held out is the name of a part"):
        check(photos, others={"held out": edgetl.dataset(photos)})


def test_a_page_is_drawn_of_arrays_too() -> None:
    samples = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    page = check_page(check_data(edgetl.dataset(np.concatenate([samples, samples[:2]]), list("ab" * 11))))
    assert "same bytes" in page
