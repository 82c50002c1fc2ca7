"""From ROS messages, however they were decoded, to samples: pictures, motion, and any numbers by their path."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.sources.images import MAX_PIXELS, decode_image

__all__ = ["Reader", "header_stamp_s", "known_type", "reader_of", "reader_of_keys"]

_PATH = re.compile(r"([A-Za-z_]\w*)((?:\[\d+\])*)")
# Bytes a pixel, and how its channels become grey or RGB.
_ENCODINGS: Dict[str, Tuple[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    "mono8": (1, lambda image: image[:, :, 0]),
    "8UC1": (1, lambda image: image[:, :, 0]),
    "rgb8": (3, lambda image: image),
    "bgr8": (3, lambda image: image[:, :, ::-1]),
    "8UC3": (3, lambda image: image[:, :, ::-1]),
    "rgba8": (4, lambda image: image[:, :, :3]),
    "bgra8": (4, lambda image: image[:, :, 2::-1]),
}


def _axes(*paths: str) -> Tuple[str, ...]:
    return tuple(f"{path}.{axis}" for path in paths for axis in "xyz")


# What is read of a type when nobody says: paths, units.
_DEFAULTS: Dict[str, Tuple[Tuple[str, ...], Tuple[str, ...]]] = {
    "sensor_msgs/Imu": (
        _axes("linear_acceleration", "angular_velocity"), ("m/s^2",) * 3 + ("rad/s",) * 3
    ),
    "sensor_msgs/MagneticField": (_axes("magnetic_field"), ("T",) * 3),
    "sensor_msgs/FluidPressure": (("fluid_pressure",), ("Pa",)),
    "sensor_msgs/Temperature": (("temperature",), ("degC",)),
    "sensor_msgs/Range": (("range",), ("m",)),
    "sensor_msgs/NavSatFix": (("latitude", "longitude", "altitude"), ("deg", "deg", "m")),
    "geometry_msgs/Twist": (_axes("linear", "angular"), ("m/s",) * 3 + ("rad/s",) * 3),
    "geometry_msgs/TwistStamped": (_axes("twist.linear", "twist.angular"), ("m/s",) * 3 + ("rad/s",) * 3),
    "geometry_msgs/WrenchStamped": (_axes("wrench.force", "wrench.torque"), ("N",) * 3 + ("N m",) * 3),
}  # fmt: skip
_IMAGES = ("sensor_msgs/Image", "sensor_msgs/CompressedImage")


class Reader(NamedTuple):
    """How messages of one type become data; `read` raises SampleError."""

    kind: str
    channels: Tuple[str, ...]
    units: Tuple[str, ...]
    read: Callable[[Any], NDArray[Any]]


def known_type(name: str) -> bool:
    """Is it clear what to read of this type without being told fields?"""
    return _plain(name) in _DEFAULTS or _plain(name) in _IMAGES


def reader_of(name: str, fields: Sequence[str] = (), units: Sequence[str] = ()) -> Reader:
    """How to read messages of that type: as a picture, by the given paths (`orientation.x`, `data[3]`), or as usual.

    Raises SourceError when the type is not known and no fields are given.
    """
    plain = _plain(name)
    if plain in _IMAGES and not fields:
        return Reader("frame", (), (), _image if plain == "sensor_msgs/Image" else _compressed_image)
    if not fields and plain not in _DEFAULTS:
        raise SourceError(f"what of a {name} is the sample? Say fields=PATH,PATH, like fields=twist.linear.x,data[0]")
    paths, usual = (tuple(fields), tuple(units)) if fields else _DEFAULTS[plain]
    chosen = tuple(units) or usual
    if chosen and len(chosen) != len(paths):
        raise SourceError(f"{len(paths)} fields and {len(chosen)} units; one a field is needed")
    return _numbers(name, paths, chosen, [_parse(path) for path in paths])


def reader_of_keys(name: str, keys: Sequence[str], units: Sequence[str]) -> Reader:
    """How to read messages that hold their channels at the top, whatever they are called."""
    return _numbers(name, tuple(keys), tuple(units), [(key,) for key in keys])


def _numbers(name: str, paths: Tuple[str, ...], units: Tuple[str, ...], steps: Sequence[Sequence[Any]]) -> Reader:
    def read(message: Any) -> NDArray[np.float64]:
        try:
            return np.array([float(_follow(message, step)) for step in steps])
        except (AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError) as error:
            raise SampleError(f"a {name} has no number at one of {list(paths)}: {error}") from error

    return Reader("vector", paths, units, read)


def header_stamp_s(message: Any) -> Optional[float]:
    """The time in a message's header, in seconds; None where it has none, or was not set."""
    header = _get(message, "header", None)
    stamp = _get(header, "stamp", None)
    seconds = _get(stamp, "sec", _get(stamp, "secs", 0))
    nanoseconds = _get(stamp, "nanosec", _get(stamp, "nsecs", _get(stamp, "nsec", 0)))
    if stamp is None or not (seconds or nanoseconds):
        return None
    try:
        return float(seconds) + float(nanoseconds) * 1e-9
    except (OverflowError, TypeError, ValueError):  # JSON may hold anything there
        return None


def _plain(name: str) -> str:
    """`sensor_msgs/msg/Imu` of ROS 2 and `sensor_msgs/Imu` of ROS 1 are one."""
    return name.replace("/msg/", "/")


def _parse(path: str) -> Sequence[Any]:
    steps: list = []  # type: ignore[type-arg]
    for part in path.split("."):
        found = _PATH.fullmatch(part)
        if not found:
            raise SourceError(f"{path!r} is no path to a field; write it like twist.linear.x or data[0]")
        steps.append(found[1])
        steps += [int(index) for index in re.findall(r"\d+", found[2])]
    return steps


def _follow(message: Any, steps: Sequence[Any]) -> Any:
    value = message
    for step in steps:
        value = value[step] if isinstance(step, int) or isinstance(value, dict) else getattr(value, step)
    return value


def _get(message: Any, name: str, default: Any) -> Any:
    return message.get(name, default) if isinstance(message, dict) else getattr(message, name, default)


def _image(message: Any) -> NDArray[np.uint8]:
    encoding = str(message.encoding)
    if encoding not in _ENCODINGS:
        raise SampleError(f"a picture is encoded as {encoding!r}; {sorted(_ENCODINGS)} are read")
    size, order = _ENCODINGS[encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.frombuffer(bytes(message.data), np.uint8)
    if not (min(height, width) > 0 and height * width <= MAX_PIXELS and step >= width * size):
        raise SampleError(f"a picture of {height} x {width} with rows of {step} bytes cannot be")
    if len(data) < height * step:
        raise SampleError(f"a picture of {height} rows of {step} bytes has only {len(data)} bytes")
    rows = data[: height * step].reshape(height, step)[:, : width * size]
    return np.ascontiguousarray(order(rows.reshape(height, width, size)))


def _compressed_image(message: Any) -> NDArray[np.uint8]:
    try:
        return decode_image(bytes(message.data), f"a picture in {message.format!r}")
    except SourceError as error:
        raise SampleError(str(error)) from error
