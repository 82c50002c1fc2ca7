"""ROS 2: a node that publishes decisions and takes labels. rclpy is imported here only; it comes with ROS, not by pip.

    ros2://edgetl?labels=yes

`~/classification` (vision_msgs/Classification), `~/vision_info` (VisionInfo when the generation changes, latched), and
`~/events` (std_msgs/String, JSON) for all else. With `labels=yes` lines on `~/label` (std_msgs/String) teach, as on the
standard input: whoever is on this ROS domain may publish there, so it is off unless asked for.
"""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace
from typing import Any, Mapping, Optional

from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.sinks.sink import Listener
from edgetl_runtime.sinks.vision_fields import classification_of, info_of, is_classification
from edgetl_runtime.sources import Uri

__all__ = ["Ros2Node", "classification_message", "info_message", "load"]

logger = logging.getLogger(__name__)

_DEPTH = 10


def load(uri: Uri, listener: Optional[Listener]) -> Ros2Node:
    """The sink of `ros2://NODE`."""
    name, labels = uri.path.strip("/") or "edgetl", uri.choice("labels", ("no", "yes")) == "yes"
    uri.finish()
    return Ros2Node(name, listener if labels else None)


def classification_message(types: Any, record: Mapping[str, Any]) -> Any:
    """A Classification made of `types`: Time, Header, ObjectHypothesis, Classification, as of rclpy or rosbags."""
    fields = classification_of(record)
    results = [types.ObjectHypothesis(**result) for result in fields["results"]]
    return types.Classification(header=_header(types, fields["header"]), results=results)


def info_message(types: Any, record: Mapping[str, Any]) -> Any:
    """A VisionInfo made of `types`."""
    fields = info_of(record)
    return types.VisionInfo(**{**fields, "header": _header(types, fields["header"])})


def _header(types: Any, fields: Mapping[str, Any]) -> Any:
    return types.Header(stamp=types.Time(**fields["stamp"]), frame_id=fields["frame_id"])


class Ros2Node:
    """A node in a context of its own, spun by a thread while it is open."""

    lost = 0

    def __init__(self, name: str, listener: Optional[Listener] = None) -> None:
        import rclpy
        from builtin_interfaces.msg import Time
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import Header, String
        from vision_msgs.msg import Classification, ObjectHypothesis, VisionInfo

        self._types = SimpleNamespace(
            Time=Time, Header=Header, String=String, Classification=Classification,
            ObjectHypothesis=ObjectHypothesis, VisionInfo=VisionInfo,
        )  # fmt: skip
        self._generation: Optional[int] = None
        self._closed = False
        self._context = rclpy.Context()
        self._context.init()  # not rclpy.init: signals are the command's own business
        self._node = rclpy.create_node(name, context=self._context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._classification = self._node.create_publisher(Classification, "~/classification", _DEPTH)
        self._info = self._node.create_publisher(VisionInfo, "~/vision_info", latched)
        self._events = self._node.create_publisher(String, "~/events", _DEPTH)
        if listener is not None:
            self._node.create_subscription(String, "~/label", lambda message: _hear(listener, message.data), _DEPTH)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="edgetl ros2", daemon=True)
        self._thread.start()

    def write(self, record: Mapping[str, Any]) -> None:
        """Publish one record."""
        if not is_classification(record):
            self._events.publish(self._types.String(data=line_of(record).strip()))
            return
        if record["generation"] != self._generation:
            self._generation = int(record["generation"])
            self._info.publish(info_message(self._types, record))
        self._classification.publish(classification_message(self._types, record))

    def close(self) -> None:
        """Take the node down; harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._executor.shutdown()
            self._thread.join(timeout=5.0)
            self._node.destroy_node()
            self._context.try_shutdown()


def _hear(listener: Listener, line: str) -> None:
    if line.strip():
        try:
            listener(line.strip())
        except Exception:  # the executor must outlive whatever one line does
            logger.exception("a label could not be taken")
