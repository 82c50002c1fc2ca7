"""Windows: resampled to the model's rate, the same however samples arrive, cut where time is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.errors import SampleError
from edgetl_runtime.windows import Window, Windower, WindowSpec, cut_windows
from hypothesis import given
from hypothesis import strategies as st

SPEC = WindowSpec(length=20, stride=10, rate_hz=20.0)


def wave(stamps: Any) -> Any:
    return np.stack([np.sin(3 * stamps), np.cos(2 * stamps), 0.1 * stamps], axis=1)


def times(seconds: float, rate_hz: float = 100.0, jitter: float = 0.3, seed: int = 0) -> Any:
    count = int(seconds * rate_hz)
    return (np.arange(count) + np.random.default_rng(seed).uniform(-jitter, jitter, count)) / rate_hz + 5.0


def same(ours: List[Window], table: Any) -> bool:
    return (
        len(ours) == len(table.data)
        and all(np.array_equal(window.data, data) for window, data in zip(ours, table.data))
        and [window.start_s for window in ours] == table.start_s.tolist()
        and [window.end_s for window in ours] == table.end_s.tolist()
    )


def test_steps_are_what_interpolation_gives() -> None:
    stamps = times(10)
    table = cut_windows(SPEC, stamps, wave(stamps))
    steps = stamps[0] + np.arange(20 * 10) / 20.0
    expected = np.stack([np.interp(steps, stamps, column) for column in wave(stamps).T], axis=1)
    assert len(table.data) == 19 and table.data.dtype == np.float32
    for number, data in enumerate(table.data):
        assert np.abs(data - expected[10 * number : 10 * number + 20]).max() < 1e-6
    assert table.end_s - table.start_s == pytest.approx(SPEC.duration_s)
    assert not any(table.cuts.values())


def test_a_source_at_the_model_s_rate_is_handed_on_as_it_is() -> None:
    stamps = 3.0 + np.arange(400) / 20.0
    values = np.random.default_rng(1).normal(size=(400, 3))
    table = cut_windows(SPEC, stamps, values)
    assert np.array_equal(table.data[5], values[50:70].astype(np.float32))


def test_an_average_keeps_out_what_is_faster_than_the_model() -> None:
    stamps = times(20, jitter=0.0)
    fast = np.sin(2 * np.pi * 43.0 * stamps)[:, None]  # at 20 Hz it folds into a false wave
    folded = cut_windows(SPEC, stamps, fast).data
    averaged = cut_windows(WindowSpec(20, 10, 20.0, resample="mean"), stamps, fast).data
    assert np.abs(averaged).max() < 0.3 * np.abs(folded).max()
    steps = stamps[0] + np.arange(60) / 20.0
    mean = [fast[(stamps > step - 0.05) & (stamps <= step)].mean() for step in steps]
    table = cut_windows(WindowSpec(60, 60, 20.0, resample="mean"), stamps, fast)
    assert np.abs(table.data[0][:, 0] - mean).max() < 1e-6


@given(data=st.data())
def test_however_samples_arrive_the_windows_are_the_same_to_the_last_bit(data: Any) -> None:
    kind = data.draw(st.sampled_from(["linear", "mean"]))
    rate = data.draw(st.sampled_from([7.0, 20.0, 100.0, 333.0]))
    spec = WindowSpec(data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40)), rate, resample=kind)
    stamps = times(6, jitter=data.draw(st.sampled_from([0.0, 0.4, 3.0])), seed=data.draw(st.integers(0, 9)))
    values = wave(stamps)
    hole = data.draw(st.integers(0, 500))
    keep = np.ones(len(stamps), bool)
    keep[hole : hole + data.draw(st.integers(0, 60))] = False
    values[data.draw(st.lists(st.integers(0, 599), max_size=3))] = np.nan
    stamps, values = stamps[keep], values[keep]
    doubts = ["saturated" if number % 97 == 3 else "" for number in range(len(stamps))]
    whole = Windower(spec, source_rate_hz=100.0)
    expected = whole.push(stamps, values, doubts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stamps)), max_size=30)))
    pieces, found = Windower(spec, source_rate_hz=100.0), []
    for start, stop in zip([0, *cuts], [*cuts, len(stamps)]):
        found += pieces.push(stamps[start:stop], values[start:stop], doubts[start:stop])
    assert same(found, cut_windows(spec, stamps, values, source_rate_hz=100.0))
    assert [window.doubt for window in found] == [window.doubt for window in expected]
    assert pieces.cuts == whole.cuts


def test_a_gap_cuts_the_window_and_the_next_begins_after_it() -> None:
    stamps = times(10, jitter=0.0)
    hole = (stamps > 8.0) & (stamps < 8.5)
    table = cut_windows(SPEC, stamps[~hole], wave(stamps)[~hole])
    assert table.cuts["gap"] == 1
    assert not ((table.start_s < 8.25) & (table.end_s > 8.25)).any()
    assert table.start_s[table.start_s > 8.25][0] == pytest.approx(8.5, abs=0.011)
    for start, data in zip(table.start_s, table.data):
        assert np.abs(data - wave(start + np.arange(20) / 20.0)).max() < 0.01


@pytest.mark.parametrize("step_s", [-3600.0, -0.5, 3600.0, 315e6, -315e6])
def test_a_jump_of_the_clock_cuts_the_window_and_bends_none(step_s: float) -> None:
    truth = times(10, jitter=0.0)
    stamps = truth + np.where(np.arange(len(truth)) >= 500, step_s, 0.0)
    table = cut_windows(SPEC, stamps, wave(truth))
    assert table.cuts["gap"] + table.cuts["clock"] == 1
    before = cut_windows(SPEC, truth[:500], wave(truth[:500]))
    after = cut_windows(SPEC, truth[500:], wave(truth[500:]))
    assert np.abs(table.data - np.concatenate([before.data, after.data])).max() < 1e-4


def test_of_samples_with_one_stamp_the_first_counts() -> None:
    stamps = times(4, jitter=0.0)
    twice = np.repeat(stamps, 2)
    values = np.repeat(wave(stamps), 2, axis=0)
    values[1::2] += 5.0
    table = cut_windows(SPEC, twice, values)
    assert table.cuts["duplicate"] == len(stamps)
    assert np.array_equal(table.data, cut_windows(SPEC, stamps, wave(stamps)).data)


def test_what_is_not_finite_is_left_out_and_a_run_of_it_is_a_gap() -> None:
    stamps, values = times(10, jitter=0.0), wave(times(10, jitter=0.0))
    values[100, 1] = np.inf
    values[500:550] = np.nan
    table = cut_windows(SPEC, stamps, values)
    assert table.cuts == {"gap": 1, "clock": 0, "duplicate": 0, "not_finite": 51}
    assert np.isfinite(table.data).all()


def test_a_doubt_marks_the_windows_that_it_is_in_and_no_others() -> None:
    stamps = times(10, jitter=0.0)
    doubts = [""] * len(stamps)
    doubts[300] = "saturated"
    windows = Windower(SPEC).push(stamps, wave(stamps), doubts)
    marked = [window for window in windows if window.doubt]
    assert {window.doubt for window in marked} == {"saturated"}
    assert all(window.start_s - 0.011 <= stamps[300] <= window.end_s + 0.011 for window in marked)
    assert len(marked) == 2 and len(windows) == 19


def test_a_slow_source_is_not_all_gaps() -> None:
    stamps = np.arange(100) / 5.0
    assert len(cut_windows(SPEC, stamps, wave(stamps)).data) == 0
    assert len(cut_windows(SPEC, stamps, wave(stamps), source_rate_hz=5.0).data) == 38
    assert len(cut_windows(WindowSpec(20, 10, 20.0, most_gap_s=0.3), stamps, wave(stamps)).data) == 38


def test_little_is_kept_however_long_it_runs() -> None:
    windower = Windower(WindowSpec(50, 500, 100.0, resample="mean"))
    for block in range(200):
        stamps = block + np.arange(100) / 100.0
        windower.push(stamps, wave(stamps), ["constant"] * 100)
        kept = windower._segment
        assert kept._kept <= 1100 and len(kept._samples.stamps) <= 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stamps", "values"), [([1, 2], [[1]]), ([1], [1]), ([[1]], [[1]]), ([1], [[1, 2, 3]])]
)
def test_what_does_not_fit_is_refused(stamps: Any, values: Any) -> None:
    windower = Windower(SPEC)
    windower.push([0.0], [[1.0, 2.0]])
    with pytest.raises(SampleError):
        windower.push(stamps, values)
    with pytest.raises(SampleError, match="doubts"):
        windower.push([0.1], [[1.0, 2.0]], ["", ""])


def test_no_samples_make_no_windows() -> None:
    windower = Windower(SPEC)
    assert windower.push(np.empty(0), np.empty((0, 3))) == []
    assert len(cut_windows(SPEC, np.empty(0), np.empty((0, 3))).data) == 0


def test_real_motion_is_windowed_as_scipy_interpolates_it(data_folder: Path) -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    archive = np.load(data_folder / "spsw_har" / "spsw.npz")
    for key in ("s01_01_sp", "s05_02_sw"):
        stamps = archive[f"{key}/t_ms"].astype(np.float64) / 1000
        values = archive[f"{key}/x"].astype(np.float64)
        table = cut_windows(SPEC, stamps, values, source_rate_hz=100.0)
        _, first = np.unique(stamps, return_index=True)
        line = interpolate.interp1d(stamps[first], values[first], axis=0)
        assert len(table.data) > 5 and table.cuts["duplicate"] == len(stamps) - len(first)
        for start, data in zip(table.start_s, table.data):
            steps = np.minimum(start + np.arange(20) / 20.0, stamps[-1])
            assert np.abs(line(steps) - data).max() < 1e-4
