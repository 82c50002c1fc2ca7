"""Small MCAP recordings, written by the reference library."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Callable, List, Tuple

import numpy as np
from PIL import Image

HEADER = "std_msgs/Header header\n"
IMU_SCHEMA = (
    HEADER + "geometry_msgs/Vector3 angular_velocity\ngeometry_msgs/Vector3 linear_acceleration\n"
    "================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    "================\nMSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n"
)
IMAGE_SCHEMA = (
    HEADER + "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n"
    "================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
)
COMPRESSED_SCHEMA = (
    HEADER + "string format\nuint8[] data\n"
    "================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
)


def header(number: int, period_ns: int = 10_000_000) -> Any:
    time_ns = 1_000_000_000_000 + number * period_ns
    return {"stamp": {"sec": time_ns // 10**9, "nanosec": time_ns % 10**9}, "frame_id": "imu"}


def imu(number: int, period_ns: int = 10_000_000) -> Any:
    axes = {axis: number + shift for shift, axis in enumerate("xyz")}
    rates = {axis: -number / 8 + shift for shift, axis in enumerate("xyz")}
    return {"header": header(number, period_ns), "angular_velocity": rates, "linear_acceleration": axes}


def write_mcap(path: Path, fill: Callable[[Any], None], chunk_bytes: int = 4096, **options: Any) -> Path:
    """`fill` is given the writer of mcap_ros2, whose `write_message` takes plain dictionaries."""
    from mcap_ros2.writer import Writer

    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=chunk_bytes, **options)
        fill(writer)
        writer.finish()
    return path


def write_imu(path: Path, count: int = 500, period_ns: int = 10_000_000, **options: Any) -> Path:
    def fill(writer: Any) -> None:
        schema = writer.register_msgdef("sensor_msgs/msg/Imu", IMU_SCHEMA)
        for number in range(count):
            stamp = 1_000_000_000_000 + number * period_ns
            writer.write_message("/imu", schema, imu(number, period_ns), log_time=stamp, sequence=number)

    return write_mcap(path, fill, **options)


def write_frames(path: Path, frames: List[Any], encoding: str, padding: int = 0) -> Path:
    def fill(writer: Any) -> None:
        schema = writer.register_msgdef("sensor_msgs/msg/Image", IMAGE_SCHEMA)
        for number, frame in enumerate(frames):
            rows = frame.reshape(frame.shape[0], -1)
            message = {
                "header": header(number), "height": frame.shape[0], "width": frame.shape[1], "encoding": encoding,
                "is_bigendian": 0, "step": rows.shape[1] + padding,
                "data": np.pad(rows, ((0, 0), (0, padding))).tobytes(),
            }  # fmt: skip
            writer.write_message("/camera", schema, message, log_time=number)

    return write_mcap(path, fill)


def write_pictures(path: Path, frames: List[Any]) -> Path:
    def fill(writer: Any) -> None:
        schema = writer.register_msgdef("sensor_msgs/msg/CompressedImage", COMPRESSED_SCHEMA)
        for number, frame in enumerate(frames):
            stream = io.BytesIO()
            Image.fromarray(frame).save(stream, "PNG")
            message = {"header": header(number), "format": "png", "data": stream.getvalue()}
            writer.write_message("/camera", schema, message, log_time=number)

    return write_mcap(path, fill)


def write_json(path: Path, rows: List[Tuple[int, Any]]) -> Path:
    from mcap.writer import Writer

    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema("robot.Odometry", "jsonschema", b'{"type": "object"}')
        channel = writer.register_channel("/odom", "json", schema)
        for time_ns, row in rows:
            writer.add_message(channel, log_time=time_ns, data=json.dumps(row).encode(), publish_time=time_ns)
        writer.finish()
    return path
