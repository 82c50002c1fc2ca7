"""T8: a stalled, flooding, lying or unplugged sensor is known within two periods, and gives nothing to learn from."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Callable, List, Optional

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import STATES, About, Sample, Source
from edgetl_runtime.sources.health import Watch
from hypothesis import given
from hypothesis import strategies as st

PERIOD_S = 0.01
IMU = About("imu", "vector", ("x", "y", "z"), ("g",) * 3, ((-2.0, 2.0),) * 3, rate_hz=100.0, live=True)
CAMERA = About("camera", "frame", rate_hz=30.0, live=True)


class Bench:
    """A watched source at a clock of its own, fed with good samples until a test does otherwise."""

    def __init__(self, about: About = IMU, samples: int = 200) -> None:
        self.about, self.now_s = about, 1000.0
        self.period_s = 1.0 / (about.rate_hz or 100.0)
        self.watch, self.generator = Watch(about, self.now_s), np.random.default_rng(0)
        self.run(samples)

    def data(self) -> Any:
        if self.about.kind == "frame":
            return self.generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        return self.generator.normal(size=3) * 0.3

    def run(
        self, samples: int, make: Optional[Callable[[Sample], Sample]] = None, step_s: Optional[float] = None
    ) -> List[Optional[Sample]]:
        """That many samples, a period apart (or `step_s`), each changed by `make`; what the watch made of them."""
        found = []
        for _ in range(samples):
            self.now_s += self.period_s if step_s is None else step_s
            sample = Sample(self.data(), self.now_s)
            self.watch.came(1, True, self.now_s)
            found.append(self.watch.check(make(sample) if make else sample, self.now_s))
        return found

    def state(self, later_s: float = 0.0) -> str:
        return self.watch.health(self.now_s + later_s, {}).state

    def recovers(self) -> bool:
        """Is it well, and its samples without doubt, two seconds after the fault has ended?"""
        found = self.run(int(2.0 / self.period_s))
        return self.state() == "ok" and found[-1] is not None and not found[-1].doubt


def changed(**fields: Any) -> Callable[[Sample], Sample]:
    def make(sample: Sample) -> Sample:
        values = {name: value(sample) if callable(value) else value for name, value in fields.items()}
        return Sample(values.get("data", sample.data), values.get("stamp_s", sample.stamp_s))

    return make


@pytest.fixture(params=[IMU, CAMERA], ids=["vector", "frame"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


def test_a_good_source_is_well_and_loses_nothing(bench: Bench) -> None:
    found = bench.run(500)
    assert all(sample is not None and not sample.doubt for sample in found)
    health = bench.watch.health(bench.now_s, {})
    assert (health.state, health.faults, health.drops, health.learnable) == ("ok", (), {}, True)
    assert health.rate_hz == pytest.approx(bench.about.rate_hz, rel=0.02)


def test_it_starts_and_ends_in_words_of_their_own() -> None:
    watch = Watch(IMU, 5.0)
    assert watch.health(5.5, {}).state == "starting"
    assert watch.health(6.5, {}).state == "stale"
    watch.end()
    assert watch.health(99.0, {}).state == "ended"
    assert set(STATES) >= {"starting", "stale", "ended", "ok"}


def test_a_stall_is_known_within_two_periods(bench: Bench) -> None:
    assert bench.state(1.9 * bench.period_s) == "ok"
    assert bench.state(2.1 * bench.period_s) == "stale"
    bench.now_s += 10 * bench.period_s
    assert bench.state() == "stale" and bench.recovers()


def test_batches_of_a_bus_are_no_stall() -> None:
    watch, now_s = Watch(About("imu", "vector", ("x",), rate_hz=1000.0, live=True), 0.0), 0.0
    states = set()
    for batch in range(200):
        now_s = 0.016 * batch
        watch.came(16, True, now_s)
        for number in range(16):
            watch.check(Sample(np.array([math.sin(batch * 16 + number)]), now_s + number / 1000), now_s)
        if batch > 20:
            states |= {watch.health(now_s + late, {}).state for late in (0.0, 0.008, 0.0159)}
    assert states == {"ok"}
    assert watch.health(now_s + 0.033, {}).state == "stale"


@pytest.mark.parametrize("stamped", [True, False], ids=["its clock stands still", "its clock runs on"])
def test_a_flood_is_known_within_two_periods_and_its_surplus_dropped(stamped: bool) -> None:
    bench = Bench()
    start_s, stamp_s = bench.now_s, [bench.now_s]

    def stamp(sample: Sample) -> float:
        stamp_s[0] += 1e-6 if stamped else 1e-4
        return stamp_s[0]

    taken = bench.run(200, changed(stamp_s=stamp), step_s=PERIOD_S / 100)
    assert bench.now_s - start_s <= 2.01 * PERIOD_S
    assert bench.state() == "flooding"
    assert sum(sample is not None for sample in taken) <= 61
    assert bench.watch.drops["flooding"] >= 139
    bench.now_s += 0.05
    assert bench.recovers()


def test_what_waited_and_comes_at_once_is_no_flood() -> None:
    bench = Bench()
    bench.now_s += 3.0  # our own process stood still for three seconds
    late = [Sample(bench.data(), bench.now_s - 3.0 + PERIOD_S * (number + 1)) for number in range(300)]
    bench.watch.came(300, True, bench.now_s)
    assert all(bench.watch.check(sample, bench.now_s) is not None for sample in late)
    assert bench.state() == "ok"


def test_what_is_not_a_number_is_dropped_and_the_rest_doubted() -> None:
    for value in (math.nan, math.inf, -math.inf):
        bench = Bench()
        assert bench.run(1, changed(data=np.array([0.0, value, 0.0]))) == [None]
        assert bench.state() == "not_finite"
        (after,) = bench.run(1)
        assert after is not None and after.doubt == "not_finite"
        assert bench.watch.drops == {"not_finite": 1} and bench.recovers()
    bench = Bench()
    assert bench.run(1, changed(stamp_s=math.nan)) == [None] and bench.recovers()


@pytest.mark.parametrize(
    "data",
    [np.zeros(2), np.zeros(4), np.zeros((3, 1)), np.zeros(3, complex), np.array(["a"] * 3), np.array(1.0)],
)
def test_another_shape_or_dtype_is_dropped(data: Any) -> None:
    bench = Bench()
    assert bench.run(2, changed(data=data)) == [None, None]
    assert bench.state() == "shape" and bench.watch.drops == {"shape": 2} and bench.recovers()


@pytest.mark.parametrize(
    "frame", [np.zeros((48, 64, 4), np.uint8), np.zeros((24, 64, 3), np.uint8), np.zeros((48, 64, 3))]
)
def test_a_camera_that_changes_its_size_is_dropped(frame: Any) -> None:
    bench = Bench(CAMERA)
    assert bench.run(2, changed(data=frame)) == [None, None]
    assert bench.state() == "shape" and bench.recovers()


def test_saturation_is_known_at_once_and_predicted_on_but_not_learnt() -> None:
    for value in (2.0, -2.0, 99.0):
        bench = Bench()
        (sample,) = bench.run(1, changed(data=np.array([0.1, value, 0.2])))
        assert sample is not None and sample.doubt == "saturated"
        assert bench.state() == "saturated" and bench.recovers()


@pytest.mark.parametrize("level", [0, 3, 255])
def test_a_black_or_white_picture_is_doubted(level: int) -> None:
    bench = Bench(CAMERA)
    (sample,) = bench.run(1, changed(data=np.full((48, 64, 3), level, np.uint8)))
    assert sample is not None and sample.doubt == "saturated"
    assert bench.recovers()


def test_a_frozen_source_is_known_after_two_repeats(bench: Bench) -> None:
    frozen = bench.data()
    found = bench.run(3, changed(data=lambda sample: frozen.copy()))
    assert [sample.doubt for sample in found if sample] == ["", "", "constant"]
    assert bench.state() == "constant" and bench.recovers()


def test_a_stuck_channel_is_known_when_the_others_go_on() -> None:
    bench = Bench()
    found = bench.run(40, changed(data=lambda sample: np.array([sample.data[0], 0.125, sample.data[2]])))
    assert [sample.doubt for sample in found if sample] == [""] * 31 + ["constant"] * 9
    assert bench.recovers()


def test_order_is_kept(bench: Bench) -> None:
    last_s = bench.now_s
    assert bench.run(1, changed(stamp_s=last_s)) == [None]
    assert bench.run(1, changed(stamp_s=last_s - 0.5)) == [None]
    assert bench.watch.drops == {"duplicate": 1, "out_of_order": 1}
    assert bench.state() == "disordered"
    assert bench.recovers()


@pytest.mark.parametrize("back_s", [0.5, 3600.0, 315e6])
def test_a_clock_that_was_set_back_is_followed_at_the_third_sample(back_s: float) -> None:
    bench = Bench()
    found = bench.run(10, changed(stamp_s=lambda sample: sample.stamp_s - back_s))
    assert [sample is None for sample in found] == [True, True] + [False] * 8
    assert bench.state() == "disordered"
    assert bench.run(100, changed(stamp_s=lambda sample: sample.stamp_s - back_s))[-1].doubt == ""  # type: ignore[union-attr]


def test_unplugged_is_said_and_forgotten(bench: Bench) -> None:
    bench.watch.came(0, False, bench.now_s)
    assert bench.state() == "unplugged"
    bench.now_s += 5.0
    bench.watch.came(0, True, bench.now_s)
    assert bench.state() == "ok" and bench.recovers()


def test_after_a_replug_another_size_is_right() -> None:
    bench = Bench(CAMERA)
    bench.watch.came(0, False, bench.now_s)
    bench.watch.came(0, True, bench.now_s)
    assert bench.run(1, changed(data=np.full((24, 32, 3), 99, np.uint8)))[0] is not None


def test_the_worst_fault_is_the_state_and_all_are_listed() -> None:
    bench = Bench()
    bench.run(1, changed(data=np.array([0.0, 2.0, 0.0])))
    bench.run(1, changed(data=np.array([0.0, math.nan, 0.0])))
    bench.watch.came(0, False, bench.now_s)
    health = bench.watch.health(bench.now_s, {"checksum": 4})
    assert health.faults == ("unplugged", "not_finite", "saturated") and health.state == "unplugged"
    assert health.drops == {"not_finite": 1, "checksum": 4} and not health.learnable


class Driver:
    """A camera whose driver can hang, and whose plug can be loose."""

    about, drops = IMU, {}  # type: ignore[var-annotated]

    def __init__(self) -> None:
        self.answers, self.connected, self.closed = threading.Event(), True, False
        self.answers.set()

    def read(self, timeout_s: float) -> Any:
        self.answers.wait(60.0)
        time.sleep(0.001)
        return [Sample(np.random.default_rng().normal(size=3), time.monotonic())] if self.connected else []

    def close(self) -> None:
        self.closed = True


def test_a_driver_that_never_comes_back_ends_the_source_and_is_not_closed_under_its_feet(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, passed_s = Driver(), [0.0]
    source = Source(driver, clock=lambda: time.monotonic() + passed_s[0])
    assert source.read(10.0)
    driver.answers.clear()
    assert source.read(0.2) is not None and source._inside_s is not None
    passed_s[0] = 31.0
    with pytest.raises(SourceError, match="has not come back for 30 s; start this program again"):
        source.read(0.1)
    monkeypatch.setattr(source._thread, "join", lambda timeout: None)  # ten seconds that nothing would come of
    source.close()
    assert not driver.closed and "cannot be closed" in caplog.text
    driver.answers.set()


def test_a_loose_plug_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver()
    with Source(driver) as source:
        for turn in range(10):
            driver.connected = bool(turn % 2)
            wanted = "ok" if driver.connected else "unplugged"
            until = time.monotonic() + 10.0
            while (source.health().state == "unplugged") != (wanted == "unplugged") and time.monotonic() < until:
                source.read(0.02)
    said = [record.message for record in caplog.records if "unplugged" in record.message]
    assert 1 <= len(said) <= 3


def test_a_recording_may_pause_and_a_folder_repeat() -> None:
    recording = About("file", "vector", ("x", "y", "z"), rate_hz=100.0)
    assert Bench(recording).state(50.0) == "ok"
    folder = Bench(About("dir", "frame", rate_hz=1.0, steady=False))
    picture = folder.data()
    found = folder.run(5, changed(data=picture))
    assert all(sample is not None and not sample.doubt for sample in found)
    assert folder.run(1, changed(data=picture[::2]))[0] is not None


@given(
    st.sampled_from([IMU, CAMERA]),
    st.lists(
        st.tuples(st.floats(), st.sampled_from(["good", "nan", "shape", "same", "late"]), st.floats(0, 3)), max_size=40
    ),
)
def test_whatever_comes_is_checked_or_dropped(about: About, events: List[Any]) -> None:
    bench = Bench(about, samples=3)
    for stamp_s, what, pause_s in events:
        data = {"nan": np.array([math.nan] * 3), "shape": np.zeros(5)}.get(what, bench.data())
        sample = Sample(data, stamp_s if what == "late" else bench.now_s)
        found = bench.run(1, changed(data=data, stamp_s=sample.stamp_s), step_s=pause_s)
        assert found[0] is None or np.isfinite(found[0].data).all()
        assert bench.state() in STATES
