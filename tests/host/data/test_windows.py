"""Datasets of windows: cut as a device cuts them, labelled by what they mostly are, held out by whole groups."""

from __future__ import annotations

import wave
from dataclasses import replace

import numpy as np
import pytest
from edgetl_runtime.live import inputs_of
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.sources import open_source
from edgetl_runtime.windows import Windower, WindowSpec
from hypothesis import given, settings
from hypothesis import strategies as st

import edgetl
from edgetl.data import Recording
from edgetl.data.groups import held_out_groups
from edgetl.errors import DatasetError

SPEC = WindowSpec(20, 10, 50.0)


def recording(name, label, seconds=4.0, group="", rate=100.0, seed=0, **more):
    stamps = np.arange(int(seconds * rate)) / rate
    values = np.random.default_rng(seed).normal(size=(len(stamps), 3))
    more = {"channels": ("ax", "ay", "az"), "units": ("g",) * 3, **more}
    return Recording(name, stamps, values, label, group, rate_hz=rate, **more)


def persons(count=5):
    return [
        recording(f"{person} {label}", label, group=f"p{person}", seed=10 * person + number)
        for person in range(count)
        for number, label in enumerate(("walk", "run"))
    ]


def write_wav(path, values, rate=8000, width=2, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        whole = np.round(np.asarray(values) * (2 ** (8 * width - 1) - 1)).astype("<i4")
        data = {1: (whole + 128).astype(np.uint8), 2: whole.astype("<i2"), 4: whole}.get(width)
        raw = whole.view(np.uint8).reshape(-1, 4)[:, :3] if data is None else data
        file.writeframes(np.ascontiguousarray(raw).tobytes())


def test_the_windows_are_those_that_a_device_cuts_from_the_same_samples():
    one = recording("walk", "walk")
    data = edgetl.dataset([one, recording("run", "run", seed=1)], window=SPEC, holdout=0.0)
    windower = Windower(data.window, one.channels, one.units, 100.0)
    pushed = (windower.push([stamp], [row]) for stamp, row in zip(one.stamps_s, one.values, strict=True))
    cut = [window.data for windows in pushed for window in windows]
    mine = [sample for sample, label in data if label == "walk"]
    assert len(cut) == len(mine) > 10 and all(np.array_equal(a, b) for a, b in zip(cut, mine, strict=True))
    assert data.window.channels == ("ax", "ay", "az") and data.window.units == ("g", "g", "g")


def test_units_are_converted_to_those_of_the_first_and_others_are_refused():
    other = recording("run", "run", units=("m/s^2",) * 3)
    data = edgetl.dataset([recording("walk", "walk"), other], window=SPEC, holdout=0.0)
    run = np.stack([sample for sample, label in data if label == "run"])
    plain = edgetl.dataset([recording("walk", "walk"), recording("run", "run")], window=SPEC, holdout=0.0)
    expected = np.stack([sample for sample, label in plain if label == "run"]) / 9.80665
    assert np.allclose(run, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(DatasetError, match="'ax' in g; the source gives V"):
        edgetl.dataset([recording("walk", "walk"), recording("run", "run", units=("V",) * 3)], window=SPEC)
    with pytest.raises(DatasetError, match="needs the channel 'gx'"):
        edgetl.dataset(persons(), window=WindowSpec(20, 10, 50.0, ("gx",)))


def test_a_window_has_the_label_of_most_of_its_samples_or_is_left_out():
    stamps = np.arange(1000) / 100.0
    labels = np.array(["a"] * 430 + ["b"] * 370 + [""] * 200)
    mixed = Recording("mixed", stamps, stamps[:, None], labels, "one", rate_hz=100.0)
    data = edgetl.dataset([mixed], window=SPEC, holdout=0.0)
    for sample, label in data:
        inside = labels[(stamps >= sample[0, 0] - 1e-6) & (stamps <= sample[-1, 0] + 1e-6)]
        assert (inside == label).mean() >= 0.7
    assert data.skipped["of several labels"] > 0 and set(data.labels) == {"a", "b"}


def test_a_window_of_one_step_has_the_label_of_its_moment():
    stamps = np.arange(600) / 30.0
    labels = np.array(["a"] * 300 + ["b"] * 300)
    data = edgetl.dataset(
        [Recording("long", stamps, stamps[:, None], labels, "one")], window=WindowSpec(1, 1, 70.0), holdout=0.0
    )
    assert len(data) > 1300 and set(data.labels) == {"a", "b"}
    for sample, label in data:
        if abs(sample[0, 0] - 10.0) > 0.04:
            assert label == ("a" if sample[0, 0] < 10.0 else "b")


def test_a_person_is_on_one_side_of_the_split():
    data = edgetl.dataset(persons(), window=SPEC)
    held = set(data.held_out.groups)
    assert held and not held & set(data.training.groups) and set(data.training.labels) == {"walk", "run"}
    assert len(data.training) + len(data.held_out) == len(data)
    again = edgetl.dataset(list(reversed(persons())), window=SPEC)
    assert set(again.held_out.groups) == held


def test_where_a_class_is_one_recording_its_parts_share_no_sample():
    clock = np.arange(2000) / 100.0
    both = [Recording(name, clock, clock[:, None] + place, name, rate_hz=100.0) for place, name in enumerate("ab")]
    data = edgetl.dataset(both, window=SPEC)
    assert len(data.held_out) and set(data.held_out.labels) == {"a", "b"}
    for label in "ab":
        used, kept = (
            {round(float(value), 4) for sample, other in part if other == label for value in sample[:, 0]}
            for part in (data.training, data.held_out)
        )
        assert not used & kept


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("pqrstu"), st.sampled_from("ab")), min_size=2, max_size=60),
    st.floats(0.0, 0.9),
    st.integers(0, 3),
)
def test_groups_stay_whole_and_every_class_keeps_a_sample(rows, share, seed):
    groups, labels = [group for group, _ in rows], [label for _, label in rows]
    held = held_out_groups(groups, labels, share, seed)
    assert not {groups[i] for i in held} & {groups[i] for i in range(len(rows)) if i not in held}
    assert {labels[i] for i in range(len(rows)) if i not in held} == set(labels)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_of_any_width_is_read_as_shares_of_full_scale(tmp_path, width):
    for folder in ("low", "high"):
        (tmp_path / folder).mkdir()
        hz = 200 if folder == "low" else 900
        write_wav(tmp_path / folder / "anna_0.wav", 0.5 * np.sin(2 * np.pi * hz * np.arange(4000) / 8000), width=width)
        write_wav(tmp_path / folder / "ben_0.wav", 0.5 * np.sin(2 * np.pi * hz * np.arange(4000) / 8000), width=width)
    data = edgetl.dataset(tmp_path, window=WindowSpec(2000, 1000, 8000.0), groups=r"(\w+)_\d")
    assert data.window.channels == ("audio",) and data.window.units == ("FS",)
    assert set(data.groups) == {"anna", "ben"} and data.counts == {"high": 6, "low": 6}
    sample = next(sample for sample, label in data if label == "low")
    expected = 0.5 * np.sin(2 * np.pi * 200 * np.arange(2000) / 8000)
    assert np.allclose(sample[:, 0], expected, atol=2.0 / 2 ** (8 * width))


def test_a_short_clip_stands_whole_in_every_window_at_every_stride(tmp_path):
    for folder in ("tick", "tock"):
        (tmp_path / folder).mkdir()
        write_wav(tmp_path / folder / "one.wav", np.full(500, 0.5))
    data = edgetl.dataset(tmp_path, window=WindowSpec(2000, 500, 8000.0), holdout=0.0)
    starts = sorted(int(np.flatnonzero(sample[:, 0])[0]) for sample, label in data if label == "tick")
    assert all(np.count_nonzero(sample) == 500 for sample, _ in data)
    assert np.array_equal(np.diff(starts), [500] * (len(starts) - 1)) and len(starts) >= 3
    alone = edgetl.dataset(tmp_path, window=WindowSpec(2000, 2000, 8000.0), holdout=0.0)
    assert alone.counts == {"tick": 1, "tock": 1}
    assert abs(int(np.flatnonzero(next(iter(alone))[0][:, 0])[0]) - 750) <= 1


def test_a_csv_of_sensor_values_says_its_clock_units_labels_and_groups(tmp_path):
    lines = ["time [ms],ax [m/s^2],label,group"]
    for group in ("anna", "ben", "cleo"):
        for label in ("still", "walk"):
            lines += [f"{10 * k + 10_000 * len(lines)},{k if k % 50 else ''},{label},{group}" for k in range(1, 200)]
    path = tmp_path / "motion.csv"
    path.write_text("\n".join(lines) + "\n")
    data = edgetl.dataset(path, window=WindowSpec(20, 10, 100.0), holdout=0.34)
    assert data.window.units == ("m/s^2",) and set(data.groups) == {"anna", "ben", "cleo"}
    assert len(set(data.held_out.groups)) == 1 and set(data.labels) == {"still", "walk"}
    assert all(np.allclose(np.diff(sample[:, 0]), 1.0, atol=1e-3) for sample, _ in data)  # no window over a gap


def test_a_list_of_recordings_names_intervals_and_groups(tmp_path):
    rows = "\n".join(f"{k / 100:.2f},{k}" for k in range(1000))
    (tmp_path / "run.csv").write_text(f"time,speed [m/s]\n{rows}\n")
    table = "path,label,group,start_s,end_s\nrun.csv,slow,d1,0,4\nrun.csv,fast,d1,5,\nrun.csv,slow,d2,0,4\n"
    (tmp_path / "list.csv").write_text(table + "run.csv,fast,d2,5,\nmissing.csv,fast,d3,,\n")
    data = edgetl.dataset(tmp_path / "list.csv", window=WindowSpec(20, 20, 100.0), holdout=0.5)
    assert data.skipped["damaged"] == 1 and set(data.groups) == {"d1", "d2"}
    assert max(sample.max() for sample, label in data if label == "slow") <= 400
    assert min(sample.min() for sample, label in data if label == "fast") >= 500


def test_intervals_of_a_real_recording_are_the_windows_that_run_would_cut(data_folder, tmp_path):
    pytest.importorskip("mcap")
    address = f"mcap://{data_folder / 'logs' / 'camera_imu_20s.mcap'}?topic=/imu/data"
    table = f"path,label,start_s,end_s\n{address},first,0,9.999\n{address},second,10,\n"
    (tmp_path / "list.csv").write_text(table)
    data = edgetl.dataset(tmp_path / "list.csv", window=WindowSpec(50, 50, 50.0), holdout=0.2)
    assert set(data.labels) == {"first", "second"} and len(data.held_out) and len(data.window.channels) >= 6
    with open_source(address) as source:
        cutter = inputs_of(source.about, ArrayPreprocess((50, len(source.about.channels)), data.window))
        live = [item.data for item in cutter(list(source))]
    assert len(live) == 20
    # The parts of the dataset begin elsewhere; its very first window is the stream's.
    assert np.array_equal(next(iter(replace(data, holdout=0.0)))[0], live[0])


def test_arrays_that_are_windows_already_are_checked(tmp_path):
    samples, labels = np.zeros((8, 20, 3)), ["a", "b"] * 4
    spec = WindowSpec(20, 10, 50.0, ("ax", "ay", "az"))
    data = edgetl.dataset(samples, labels, window=spec, groups=list("ppqqrrss"), holdout=0.25)
    assert data.window == spec and len(set(data.held_out.groups)) == 1
    with pytest.raises(DatasetError, match=r"shape \(20, 3\); windows of 30 steps"):
        edgetl.dataset(samples, labels, window=WindowSpec(30, 10, 50.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ax,label\n1,a\n", "needs a column `time`"),
        ("time,label\n1,a\n", "one a channel"),
        ("time [h],ax,label\n1,1,a\n", "must be one of"),
        ("time,ax,label\n1,x,a\n", "line 2: each channel must be a number"),
        ("time,ax,label\n0,1,a\n0.01,1,a\n", "gives no window of 20 steps at 50 Hz.*left out: too short$"),
        (
            "time,ax,label\n" + "".join(f"{k // 5 * 0.2 + k % 5 * 0.02:.2f},1,a\n" for k in range(200)),
            "left out: cut by gaps; at a lower rate_hz",
        ),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, text, said):
    path = tmp_path / "motion.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=said):
        edgetl.dataset(path, window=SPEC)


def test_a_folder_without_recordings_or_with_a_pattern_that_finds_nothing_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no recordings"):
        edgetl.dataset(tmp_path, window=SPEC)
    (tmp_path / "a").mkdir()
    write_wav(tmp_path / "a" / "x.wav", np.zeros(4000))
    with pytest.raises(DatasetError, match=r"finds no group in 'a/x\.wav'"):
        edgetl.dataset(tmp_path, window=SPEC, groups=r"(\d+)")
    with pytest.raises(DatasetError, match="one class only"):
        edgetl.dataset(tmp_path, window=SPEC)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cut.wav").write_bytes(b"RIFF")
    with pytest.raises(DatasetError, match="one class only"):
        edgetl.dataset(tmp_path, window=SPEC)
