"""Recordings: the samples that the reference libraries give, and of a damaged file never a wrong one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import Sample, open_source
from edgetl_runtime.windows import Windower, WindowSpec, cut_windows

from tests.runtime.sources import recordings

mcap_feed = pytest.importorskip("edgetl_runtime.sources.mcap_feed", reason="mcap is not installed")

IMU_PATHS = [f"{part}.{axis}" for part in ("linear_acceleration", "angular_velocity") for axis in "xyz"]


def messages(data: bytes) -> List[Tuple[str, int, bytes]]:
    return [(m.topic, m.log_time_ns, m.data) for m in mcap_feed.raw_messages(io.BytesIO(data), {})]


def samples_of(address: Any) -> List[Sample]:
    with open_source(address) as source:
        return list(source)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings.write_imu(tmp_path_factory.mktemp("mcap") / "imu.mcap")


def test_motion_is_read_with_its_units_and_stamps(recording: Path) -> None:
    with open_source(recording) as source:
        assert source.about.channels == tuple(IMU_PATHS)
        assert source.about.units == ("m/s^2",) * 3 + ("rad/s",) * 3
        samples = list(source)
        assert source.health().state == "ended" and source.health().drops == {}
    assert [sample.data.tolist() for sample in samples] == [
        [n, n + 1, n + 2, -n / 8, -n / 8 + 1, -n / 8 + 2] for n in range(500)
    ]
    assert [sample.stamp_s for sample in samples] == pytest.approx([1000 + n / 100 for n in range(500)], abs=1e-7)


def test_any_number_is_read_by_its_path(recording: Path) -> None:
    address = f"mcap://{recording}?fields=header.stamp.nanosec,angular_velocity.z&units=ns,rad/s"
    samples = samples_of(address)
    assert [sample.data.tolist() for sample in samples[:3]] == [[n * 1e7, -n / 8 + 2] for n in range(3)]


def test_json_is_read_by_path_and_its_own_clock(tmp_path: Path) -> None:
    rows = [(number * 10**9, {"pose": {"x": number, "legs": [1, [2, number]]}}) for number in range(4)]
    path = recordings.write_json(tmp_path / "odom.mcap", rows)
    samples = samples_of(f"file://{path}?fields=pose.x,pose.legs[1][1]")
    assert [sample.data.tolist() for sample in samples] == [[n, n] for n in range(4)]
    assert [sample.stamp_s for sample in samples] == [0, 1, 2, 3]


@pytest.mark.parametrize("encoding", ["mono8", "rgb8", "bgr8", "rgba8", "bgra8"])
def test_pictures_come_in_rgb_whatever_their_encoding_and_padding(tmp_path: Path, encoding: str) -> None:
    size = {"mono8": (), "rgb8": (3,), "bgr8": (3,), "rgba8": (4,), "bgra8": (4,)}[encoding]
    frames = [np.random.default_rng(n).integers(0, 256, (6, 5, *size), dtype=np.uint8) for n in range(3)]
    samples = samples_of(recordings.write_frames(tmp_path / "a.mcap", frames, encoding, padding=3))
    order = {"bgr8": [2, 1, 0], "bgra8": [2, 1, 0], "rgba8": [0, 1, 2]}.get(encoding)
    for sample, frame in zip(samples, frames):
        assert np.array_equal(sample.data, frame if order is None else frame[:, :, order])
    assert len(samples) == 3


def test_compressed_pictures_are_decoded(tmp_path: Path) -> None:
    frames = [np.random.default_rng(n).integers(0, 256, (6, 5, 3), dtype=np.uint8) for n in range(3)]
    samples = samples_of(recordings.write_pictures(tmp_path / "a.mcap", frames))
    assert all(np.array_equal(sample.data, frame) for sample, frame in zip(samples, frames)) and len(samples) == 3


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    path = recordings.write_frames(tmp_path / "a.mcap", [np.zeros((4, 4, 2), np.uint8)] * 3, "yuv422")
    with open_source(path) as source:
        assert list(source) == []
        assert source.health().drops == {"unreadable": 3}


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
def test_cut_anywhere_it_gives_a_beginning_and_never_a_wrong_message(tmp_path: Path, compression: str) -> None:
    from mcap.writer import CompressionType

    path = recordings.write_imu(tmp_path / "a.mcap", 300, compression=CompressionType[compression])
    whole = path.read_bytes()
    expected = messages(whole)
    assert len(expected) == 300
    generator, longest = np.random.default_rng(1), 0
    for cut in sorted(generator.integers(0, len(whole), 60)):
        found = messages(whole[:cut])
        assert found == expected[: len(found)]
        longest = max(longest, len(found))
    assert longest >= 240


def test_flipped_bits_cost_chunks_and_change_no_message(recording: Path) -> None:
    whole = recording.read_bytes()
    expected, generator, full = messages(whole), np.random.default_rng(2), 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(generator.integers(8, len(whole)))] ^= 1 << int(generator.integers(8))
        found = messages(bytes(damaged))
        remaining = iter(expected)
        assert all(message in remaining for message in found)  # some of them, in their order, and no other
        full += len(found) >= 400
    assert full > 100


def test_a_cut_recording_is_opened_read_and_said_to_be_cut(recording: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(recording.read_bytes()[: recording.stat().st_size // 2])
    with open_source(cut) as source:
        samples = list(source)
        assert source.health().drops["cut"] == 1
    assert 100 < len(samples) < 450
    assert [sample.data[0] for sample in samples] == list(range(len(samples)))


def test_messages_of_a_chunk_come_in_the_order_of_their_clock(tmp_path: Path) -> None:
    rows = [(time_ns, {"a": time_ns}) for time_ns in (10, 30, 20, 50, 40)]
    path = recordings.write_json(tmp_path / "a.mcap", rows)
    assert [sample.data[0] for sample in samples_of(f"file://{path}?fields=a")] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?topic=/lidar", "no messages on /lidar; it has /imu"),
        ("?fields=linear-x", "is no path to a field"),
        ("?fields=a,b&units=m", "2 fields and 1 units"),
        ("?topics=/imu", r"no option \['topics'\]"),
    ],
)
def test_wrong_options_are_refused(recording: Path, options: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"file://{recording}{options}")


def test_which_topic_is_asked_when_it_is_not_clear(data_folder: Path) -> None:
    with pytest.raises(SourceError, match=r"which topic.*/camera/image/compressed .*, /imu/data"):
        open_source(data_folder / "logs" / "camera_imu_20s.mcap")


@pytest.mark.parametrize("content", [b"", b"junk" * 100, b"\x89MCAP0\r\n"])
def test_what_is_no_recording_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="holds no message"):
        open_source(path)
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(tmp_path / "b.mcap")


# Real recordings.


def test_real_recordings_give_the_messages_of_the_reference_library(data_folder: Path) -> None:
    from mcap.reader import make_reader

    for path in sorted((data_folder / "logs").glob("*.mcap")):
        with path.open("rb") as stream:
            expected = [(c.topic, m.log_time, m.data) for _, c, m in make_reader(stream).iter_messages()]
        found = messages(path.read_bytes())
        assert sorted(found, key=lambda message: message[1]) == expected
        for topic in {message[0] for message in expected}:
            assert [m for m in found if m[0] == topic] == [m for m in expected if m[0] == topic]


def test_a_real_recording_gives_the_samples_of_rosbags(data_folder: Path) -> None:
    highlevel = pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")
    from PIL import Image

    path = data_folder / "logs" / "camera_imu_20s.mcap"
    with highlevel.AnyReader([path]) as bag:
        theirs = {connection.topic: [] for connection in bag.connections}
        for connection, _, data in bag.messages():
            theirs[connection.topic].append(bag.deserialize(data, connection.msgtype))
    motion = samples_of(f"mcap://{path}?topic=/imu/data")
    assert len(motion) == len(theirs["/imu/data"]) == 2000
    for sample, message in zip(motion, theirs["/imu/data"]):
        one, other = message.linear_acceleration, message.angular_velocity
        assert sample.data.tolist() == [one.x, one.y, one.z, other.x, other.y, other.z]
        assert sample.stamp_s == message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
    frames = samples_of(f"mcap://{path}?topic=/camera/image/compressed")
    assert len(frames) == len(theirs["/camera/image/compressed"]) == 400
    for sample, message in zip(frames[::20], theirs["/camera/image/compressed"][::20]):
        assert np.array_equal(sample.data, np.asarray(Image.open(io.BytesIO(message.data.tobytes())).convert("RGB")))


def test_a_real_recording_is_windowed_the_same_live_and_at_once(data_folder: Path) -> None:
    samples = samples_of(f"mcap://{data_folder / 'logs' / 'camera_imu_20s.mcap'}?topic=/imu/data")
    stamps, values = np.array([s.stamp_s for s in samples]), np.stack([s.data for s in samples])
    spec = WindowSpec(length=20, stride=10, rate_hz=20.0)
    at_once = cut_windows(spec, stamps, values)
    windower, live = Windower(spec), []
    for stamp, value in zip(stamps, values):
        live += windower.push([stamp], [value])
    assert len(live) == len(at_once.data) == 39
    assert np.array_equal(np.stack([window.data for window in live]), at_once.data)
    steps = at_once.start_s[3] + np.arange(20) / 20.0
    expected = np.stack([np.interp(steps, stamps, column) for column in values.T], axis=1)
    assert np.abs(at_once.data[3] - expected).max() < 1e-4


def test_real_recordings_cut_anywhere_never_give_a_wrong_message(data_folder: Path) -> None:
    generator = np.random.default_rng(7)
    for path in sorted((data_folder / "logs").glob("*.mcap")):
        whole = path.read_bytes()
        expected = messages(whole)
        for cut in generator.integers(0, len(whole), 40):
            found = messages(whole[: int(cut)])
            assert found == expected[: len(found)]
