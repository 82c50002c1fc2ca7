"""From samples to inputs of a session, and inputs found again for labels that come late."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.live import Input, Memory, inputs_of
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess
from edgetl_runtime.sources import About, Sample
from edgetl_runtime.windows import WindowSpec

IMU = About("imu", "vector", ("ax", "ay", "az"), ("g",) * 3, rate_hz=100.0)
CAMERA = About("camera", "frame")
WINDOW = WindowSpec(20, 10, 50.0, ("az", "ax"), ("m/s^2", "g"))


def sample(number: int, doubt: str = "") -> Sample:
    return Sample(np.array([number, -number, 1.0]), number / 100, doubt)


def test_frames_and_vectors_are_inputs_one_by_one_and_numbered() -> None:
    cut = inputs_of(CAMERA, ImagePreprocess(8, 8))
    frames = [Sample(np.zeros((9, 9, 3), np.uint8), float(n), label="a") for n in range(3)]
    found = cut(frames[:2]) + cut([]) + cut(frames[2:])
    assert [(item.number, item.stamp_s, item.label) for item in found] == [(1, 0.0, "a"), (2, 1.0, "a"), (3, 2.0, "a")]
    (only,) = inputs_of(IMU, ArrayPreprocess((3,)))([sample(4, "saturated")])
    assert only.data.tolist() == [4, -4, 1] and only.doubt == "saturated"


@pytest.mark.parametrize("own", [True, False], ids=["the bundle's window", "a window by option"])
def test_a_stream_is_cut_into_windows_in_the_model_s_channels_and_units(own: bool) -> None:
    cut = inputs_of(IMU, ArrayPreprocess((20, 2), WINDOW if own else None), None if own else WINDOW)
    found = [item for n in range(0, 200, 7) for item in cut([sample(k) for k in range(n, min(n + 7, 200))])]
    assert [item.number for item in found] == list(range(1, len(found) + 1)) and len(found) == 9
    assert found[1].data[:, 0] == pytest.approx([9.80665] * 20)
    assert found[1].data[:, 1] == pytest.approx(20.0 + 2 * np.arange(20))
    assert found[1].start_s == pytest.approx(0.2) and found[1].stamp_s == pytest.approx(0.58)


@pytest.mark.parametrize(
    ("about", "preprocess", "message"),
    [
        (CAMERA, ArrayPreprocess((20, 3)), "gives frames, and the bundle takes numbers"),
        (IMU, ImagePreprocess(8, 8), "gives 3 numbers a sample, and the bundle takes frames"),
        (IMU, ArrayPreprocess((20, 3)), "say --rate-hz and --stride"),
        (IMU, ArrayPreprocess((4,)), "say --rate-hz"),
        (IMU, ArrayPreprocess((20, 2), WindowSpec(20, 10, 50.0, ("ax", "gz"))), "needs the channel 'gz'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(about: About, preprocess: object, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        inputs_of(about, preprocess)  # type: ignore[arg-type]


def test_an_option_that_does_not_fit_the_bundle_is_refused() -> None:
    with pytest.raises(SourceError, match="not what the bundle takes"):
        inputs_of(IMU, ArrayPreprocess((20, 2)), WindowSpec(20, 10, 50.0))


def test_late_labels_find_their_input_by_number_moment_or_as_the_newest() -> None:
    memory = Memory()
    assert memory.find() is None
    for number in range(1, 6):
        memory.keep(Input(number, np.zeros(3), number - 1.0, number + 0.0))
    assert memory.find().number == 5  # type: ignore[union-attr]
    assert memory.find(number=2).number == 2  # type: ignore[union-attr]
    assert memory.find(stamp_s=2.5).number == 3  # type: ignore[union-attr]
    assert memory.find(stamp_s=2.0).number == 3  # type: ignore[union-attr]
    assert memory.find(number=9) is None and memory.find(stamp_s=7.0) is None


def test_what_is_remembered_is_bounded() -> None:
    memory = Memory(most_bytes=4000)
    for number in range(100):
        memory.keep(Input(number, np.zeros(25), 0.0, 0.0))  # 200 bytes each, and 600 of Python's
    assert memory.find(number=94) is None and memory.find(number=95) is not None
    memory.keep(Input(100, np.zeros(10_000), 0.0, 0.0))  # the newest always
    assert memory.find().number == 100 and memory.find(number=99) is None  # type: ignore[union-attr]


def test_many_small_inputs_take_no_more_memory_than_they_may() -> None:
    """A day of vectors: what Python keeps of each counts too."""
    memory = Memory(most_bytes=8 << 20)
    tracemalloc.start()
    for number in range(30_000):
        memory.keep(Input(number, np.full(3, float(number)), float(number), float(number)))
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used_bytes < 10 << 20
    assert memory.find(stamp_s=29_000.0) is not None and memory.find(number=29_000) is not None
