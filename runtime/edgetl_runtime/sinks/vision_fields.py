"""A record as the fields of ROS 2 messages: `vision_msgs/Classification`, and `VisionInfo` with the head's generation.

`VisionInfo.database_version` is meant to rise when a recogniser learns. Field by field, for whoever encodes them.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

__all__ = ["CLASSIFICATION", "HEADER", "INFO", "classification_of", "header_of", "info_of", "is_classification"]

_NEXT = 80 * "=" + "\n"  # what parts the schemas of one message and those it is made of: 80 signs, or rosbags refuses
HEADER = f"{_NEXT}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
CLASSIFICATION = (
    "std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results\n"
    f"{_NEXT}MSG: vision_msgs/ObjectHypothesis\nstring class_id\nfloat64 score\n{HEADER}"
)
INFO = f"std_msgs/Header header\nstring method\nstring database_location\nint32 database_version\n{HEADER}"


def is_classification(record: Mapping[str, Any]) -> bool:
    """Is it a prediction of a class?"""
    return record.get("kind") == "prediction" and "best" in record


def header_of(record: Mapping[str, Any]) -> Dict[str, Any]:
    """A std_msgs/Header: `frame_id` is the place of a crop; in ROS a stamp of 0 was never set."""
    nanoseconds = max(1, round(float(record["stamp_s"]) * 1e9))
    stamp = {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}
    return {"stamp": stamp, "frame_id": str(record.get("place", ""))}


def classification_of(record: Mapping[str, Any]) -> Dict[str, Any]:
    """A vision_msgs/Classification: the best hypotheses of a prediction, scores within [0, 1]."""
    results = [{"class_id": str(label), "score": float(score)} for label, score in record["best"]]
    return {"header": header_of(record), "results": results}


def info_of(record: Mapping[str, Any]) -> Dict[str, Any]:
    """A vision_msgs/VisionInfo: which generation of the head answered."""
    return {
        "header": header_of(record), "method": "edgetl", "database_location": "",
        "database_version": int(record["generation"]),
    }  # fmt: skip
