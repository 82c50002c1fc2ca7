"""Where what a device decided goes: a row and a file a kind, opened by an address.

`stdout:` and `file://log.jsonl` JSON lines; `unix:///run/edgetl.sock` JSON lines to whoever connects and labels back;
`mqtt://broker/robot7/sorter` a topic a kind of record, and a topic for labels; `mcap://decisions.mcap` for Foxglove and
ROS 2; `ros2://edgetl` the topics of a ROS 2 node, and one for labels.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Dict, NamedTuple, Optional

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.queued import Queued
from edgetl_runtime.sinks.sink import Listener, Sink
from edgetl_runtime.sources import Uri

__all__ = ["SINKS", "Listener", "Queued", "Sink", "SinkRow", "open_sink"]


class SinkRow(NamedTuple):
    """Where a kind of sink lives, what it imports ("" for nothing more), how to get that, and whether it may wait."""

    module: str
    needs: str
    how: str
    waits: bool = True


_HERE = "edgetl_runtime.sinks"
_MQTT = "pip install 'edgetl-runtime[mqtt]'"
SINKS: Dict[str, SinkRow] = {
    "file": SinkRow(f"{_HERE}.lines", "", ""),
    "mcap": SinkRow(f"{_HERE}.decisions", "mcap_ros2", "pip install 'edgetl-runtime[mcap]'"),
    "mqtt": SinkRow(f"{_HERE}.mqtt", "paho", _MQTT),
    "mqtts": SinkRow(f"{_HERE}.mqtt", "paho", _MQTT),
    "ros2": SinkRow(
        f"{_HERE}.ros2_node", "rclpy",
        "install ROS 2 and ros-DISTRO-vision-msgs, and source /opt/ros/DISTRO/setup.bash before this command",
    ),
    "stdout": SinkRow(f"{_HERE}.lines", "", ""),
    "unix": SinkRow(f"{_HERE}.unix_socket", "", "", waits=False),
}  # fmt: skip


def open_sink(address: str, listener: Optional[Listener] = None, patient: bool = False) -> Sink:
    """Open a sink by its address; `listener` is given the lines that come back, where a kind has them.

    Its `write` waits for nobody, unless `patient`: see Queued. Raises SourceError for an address that means nothing, a
    missing package, and what cannot be opened.
    """
    uri = Uri(address if ":" in address else f"{address}:")
    if uri.scheme not in SINKS:
        raise SourceError(f"there is no sink {uri.scheme!r}; there are {sorted(SINKS)}")
    row = SINKS[uri.scheme]
    if row.needs and importlib.util.find_spec(row.needs) is None:
        raise SourceError(f"the sink {uri.scheme} needs {row.needs}, which is not installed: {row.how}")
    sink: Sink = importlib.import_module(row.module).load(uri, listener)
    return Queued(sink, uri.scheme, patient) if row.waits else sink
