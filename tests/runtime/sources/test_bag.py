"""ROS 1 and ROS 2 bags through rosbags, as the same messages in MCAP."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import open_source

pytest.importorskip("rosbags.highlevel", reason="rosbags is not installed")

STAMPS = [1_000_000_000_000 + 10_000_000 * number for number in range(50)]


def motion(store: Any, number: int, first: bool) -> Any:
    types = store.types
    seconds, nanoseconds = divmod(STAMPS[number], 10**9)
    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    header = types["std_msgs/msg/Header"](**({"seq": number} if first else {}), stamp=stamp, frame_id="imu")
    vector, rotation = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
    return types["sensor_msgs/msg/Imu"](
        header=header, orientation=rotation(x=0.0, y=0.0, z=0.0, w=1.0), orientation_covariance=np.zeros(9),
        angular_velocity=vector(x=-1.0 * number, y=0.5, z=0.25), angular_velocity_covariance=np.zeros(9),
        linear_acceleration=vector(x=1.0 * number, y=9.5, z=-2.0), linear_acceleration_covariance=np.zeros(9),
    )  # fmt: skip


@pytest.fixture(params=["ros1", "ros2"])
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    first = request.param == "ros1"
    store = get_typestore(Stores.ROS1_NOETIC if first else Stores.ROS2_HUMBLE)
    path = tmp_path / ("drive.bag" if first else "drive")
    with (Writer1(path) if first else Writer2(path, version=9)) as writer:
        connection = writer.add_connection("/imu", "sensor_msgs/msg/Imu", typestore=store)
        for number, stamp in enumerate(STAMPS):
            message = motion(store, number, first)
            data = (store.serialize_ros1 if first else store.serialize_cdr)(message, "sensor_msgs/msg/Imu")
            writer.write(connection, stamp, data)
    return path


def test_a_bag_is_read_like_a_recording(bag: Path) -> None:
    with open_source(bag) as source:
        samples = list(source)
        assert source.about.units == ("m/s^2",) * 3 + ("rad/s",) * 3
        assert source.health().drops == {}
    assert [sample.data.tolist() for sample in samples] == [[n, 9.5, -2.0, -n, 0.5, 0.25] for n in range(50)]
    assert [sample.stamp_s for sample in samples] == pytest.approx([stamp / 1e9 for stamp in STAMPS])
    with open_source(f"file://{bag}?fields=linear_acceleration.x") as source:
        assert [sample.data[0] for sample in source] == list(range(50))


def test_what_is_no_bag_or_topic_is_an_error(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"which topic.*/imu"):
        open_source(f"bag://{bag}?topic=/camera")
    with pytest.raises(SourceError, match="no bag"):
        open_source(f"bag://{tmp_path / 'none.bag'}")
    (tmp_path / "junk.bag").write_bytes(b"#ROSBAG V2.0\n" + b"junk" * 100)
    with pytest.raises(SourceError, match="reindex"):
        open_source(tmp_path / "junk.bag")


def test_a_bag_with_other_message_definitions_is_refused_or_gives_what_can_be_read(bag: Path) -> None:
    holds = next(bag.glob("*.db3")) if bag.is_dir() else bag
    whole = holds.read_bytes()
    for changed in (whole.replace(b"std_msgs", b"svd_msgs"), whole.replace(b"float64", b"float65")):
        assert changed != whole
        holds.write_bytes(changed)
        with contextlib.suppress(SourceError), open_source(bag) as source:
            list(source)


def test_a_bag_with_damage_anywhere_is_refused_or_gives_what_can_be_read(bag: Path) -> None:
    files = {path: path.read_bytes() for path in (sorted(bag.iterdir()) if bag.is_dir() else [bag])}
    rng = np.random.default_rng(0)
    for path, whole in files.items():
        for number in range(25):
            start = len(whole) - 2000 if number % 2 else 0  # the index of a ROS 1 bag is its end
            damaged = bytearray(whole)
            damaged[int(rng.integers(max(start, 0), len(whole)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with contextlib.suppress(SourceError), open_source(bag) as source:
                list(source)
        path.write_bytes(whole)


def test_a_ros1_bag_cut_short_is_refused_or_gives_its_beginning(bag: Path, tmp_path: Path) -> None:
    if bag.is_dir():
        return
    whole = bag.read_bytes()
    for cut in np.random.default_rng(0).integers(0, len(whole), 30):
        path = tmp_path / "cut.bag"
        path.write_bytes(whole[: int(cut)])
        try:
            with open_source(path) as source:
                found = [sample.data[0] for sample in source]
        except SourceError:
            continue
        assert found == list(range(len(found)))
