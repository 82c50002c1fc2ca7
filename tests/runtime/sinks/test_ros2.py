"""What goes to ROS 2. rclpy comes with ROS only and is not here: rosbags' types stand for its messages."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict

import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks import open_sink
from edgetl_runtime.sinks.ros2_node import classification_message, info_message

typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")

# As vision_msgs 4 has them (ros-perception/vision_msgs, branch ros2), comments left out.
VISION = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/Classification": "std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results\n",
    "vision_msgs/msg/VisionInfo": (
        "std_msgs/Header header\nstring method\nstring database_location\nint32 database_version\n"
    ),
}
PREDICTION: Dict[str, Any] = {
    "kind": "prediction", "number": 7, "stamp_s": 12.5, "label": "cup", "probability": 0.75,
    "best": [["cup", 0.75], ["plate", 0.25]], "outlier": 3.5, "generation": 4,
}  # fmt: skip


@pytest.fixture
def store() -> Any:
    made = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    for name, text in VISION.items():
        made.register(typesys.get_types_from_msg(text, name))
    return made


@pytest.fixture
def types(store: Any) -> Any:
    names = [*VISION, "std_msgs/msg/Header", "builtin_interfaces/msg/Time"]
    return SimpleNamespace(**{name.rsplit("/", 1)[1]: store.types[name] for name in names})


def test_the_node_s_messages_have_the_fields_of_vision_msgs(store: Any, types: Any) -> None:
    name = "vision_msgs/msg/Classification"
    back = store.deserialize_cdr(store.serialize_cdr(classification_message(types, PREDICTION), name), name)
    assert [(result.class_id, result.score) for result in back.results] == [("cup", 0.75), ("plate", 0.25)]
    assert (back.header.stamp.sec, back.header.stamp.nanosec, back.header.frame_id) == (12, 500_000_000, "")
    name = "vision_msgs/msg/VisionInfo"
    info = store.deserialize_cdr(store.serialize_cdr(info_message(types, PREDICTION), name), name)
    assert (info.database_version, info.method, info.header.stamp.sec) == (4, "edgetl", 12)


def test_what_lies_in_mcap_is_what_vision_msgs_says(store: Any, tmp_path: Path) -> None:
    pytest.importorskip("mcap_ros2", reason="mcap-ros2-support is not installed")
    from mcap.reader import make_reader

    path = tmp_path / "day.mcap"
    sink = open_sink(f"mcap://{path}")
    for generation in (4, 5):
        sink.write({**PREDICTION, "generation": generation})
    sink.close()
    found: Dict[str, Any] = {}
    for schema, channel, message in make_reader(io.BytesIO(path.read_bytes())).iter_messages():
        assert schema is not None
        found.setdefault(channel.topic, []).append(store.deserialize_cdr(message.data, schema.name))
        fresh = typesys.get_typestore(typesys.Stores.EMPTY)  # the file's own schema says the same as the package
        fresh.register(typesys.get_types_from_msg(schema.data.decode(), schema.name))
        assert fresh.fielddefs[schema.name] == store.fielddefs[schema.name]
    assert [info.database_version for info in found["/vision_info"]] == [4, 5]
    assert found["/classification"][0].results[0].class_id == "cup"


def test_without_ros_the_error_says_where_rclpy_comes_from() -> None:
    with pytest.raises(SourceError, match=r"needs rclpy.*setup\.bash"):
        open_sink("ros2://edgetl")
