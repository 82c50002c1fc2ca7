"""A plan that TensorRT built is kept for the next start, and trusted in nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Callable

import pytest
from edgetl_runtime.engines.tensorrt_builder import BuildOptions
from edgetl_runtime.engines.tensorrt_plans import PlanCache, plan_key
from edgetl_runtime.errors import EngineError

from tests.runtime.engines.opened_tensorrt import Builds, opened, right
from tests.runtime.engines.tensorrt_double import tensorrt


def plan_of(folder: Path) -> Path:
    (plan,) = folder.glob("*.plan")
    return plan


def truncate(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def flip(plan: Path) -> None:
    contents = bytearray(plan.read_bytes())
    contents[len(contents) // 2] ^= 1
    plan.write_bytes(bytes(contents))


def exchange(plan: Path) -> None:
    """A plan with a side file that vouches for it, of another key, under this name."""
    other = plan.with_name("other")
    cache = PlanCache(other)
    key = plan_key(hashlib.sha256(b"another graph").hexdigest(), "10.3.0", "8.7", BuildOptions())
    cache.keep_plan(key, plan.read_bytes())
    (foreign,) = other.glob("*.plan")
    foreign.replace(plan)
    Path(str(foreign) + ".json").replace(str(plan) + ".json")
    other.rmdir()


def empty(plan: Path) -> None:
    plan.write_bytes(b"")


def lose_the_side_file(plan: Path) -> None:
    Path(str(plan) + ".json").unlink()


def lose_the_plan(plan: Path) -> None:
    plan.unlink()


def spoil_the_side_file(plan: Path) -> None:
    Path(str(plan) + ".json").write_text("[1, 2")


def strange_side_file(plan: Path) -> None:
    Path(str(plan) + ".json").write_text("[]")


def link(plan: Path) -> None:
    elsewhere = plan.with_suffix(".elsewhere")
    plan.replace(elsewhere)
    plan.symlink_to(elsewhere)


def share(plan: Path) -> None:
    """A second name, through which another could write."""
    os.link(str(plan), str(plan.with_suffix(".second")))


HARM = [
    truncate, flip, exchange, empty, lose_the_side_file, lose_the_plan, spoil_the_side_file, strange_side_file, link,
    share,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: str(harm.__name__))
def test_a_plan_that_differs_in_anything_is_deleted_and_built_again(
    tmp_path: Path, harm: Callable[[Path], None], caplog: Any
) -> None:
    trt = tensorrt("10.3")
    builds = Builds(trt)
    opened(trt=trt, build=builds, cache_dir=tmp_path).close()
    read = trt.read
    harm(plan_of(tmp_path))
    engine = opened(trt=trt, build=builds, cache_dir=tmp_path)
    assert builds.count == 2 and right(engine)
    assert trt.read == read + 1  # TensorRT saw the new plan only
    assert "deleted" in caplog.text
    opened(trt=trt, build=builds, cache_dir=tmp_path)
    assert builds.count == 2


def test_every_flipped_byte_of_a_side_file_is_found_or_harmless(tmp_path: Path) -> None:
    key = plan_key("ab" * 32, "10.3.0", "8.7", BuildOptions())
    cache = PlanCache(tmp_path)
    for i in range(0, 420, 7):
        cache.keep_plan(key, b"a plan")
        side = Path(str(plan_of(tmp_path)) + ".json")
        contents = bytearray(side.read_bytes())
        contents[i % len(contents)] ^= 1 << i % 8
        side.write_bytes(bytes(contents))
        assert cache.load_plan(key) in (None, b"a plan")


def test_a_plan_that_tensorrt_does_not_read_is_built_again_once(tmp_path: Path) -> None:
    opened(cache_dir=tmp_path).close()
    trt = tensorrt("10.3", unreadable=1)
    builds = Builds(trt)
    engine = opened(trt=trt, build=builds, cache_dir=tmp_path)
    assert builds.count == 1 and right(engine)
    with pytest.raises(EngineError, match="does not read"):
        opened(trt=tensorrt("10.3", unreadable=9), cache_dir=tmp_path)
    assert list(tmp_path.glob("*.part")) == []


def test_a_plan_that_cannot_be_kept_serves_all_the_same(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    def full(self: Any, name: str, contents: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PlanCache, "_write", full)
    assert right(opened(cache_dir=tmp_path))
    assert "built again at the next start" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_may_enter_is_closed_and_a_foreign_one_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert right(opened(cache_dir=folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(EngineError, match="folder of this user"):
        opened(cache_dir=tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be used"):
        opened(cache_dir=tmp_path / "file")


def test_what_was_left_long_ago_goes_and_what_another_process_writes_now_stays(tmp_path: Path) -> None:
    PlanCache(tmp_path)
    for name in ("old.plan.part", "new.plan.part"):
        (tmp_path / name).write_bytes(b"half a plan")
    for name in ("build-old", "build-new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "graph.onnx").write_bytes(b"graph")
    for name in ("old.plan.part", "build-old"):
        os.utime(str(tmp_path / name), (0, 0))
    PlanCache(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build-new", "new.plan.part"]
