"""Where samples come from: each kind of source is a row here and a file; all are opened by an address.

    with open_source("serial:///dev/ttyUSB0?baud=115200&schema=imu.toml") as source:
        for sample in source:
            ...

`file://` goes by the suffix. Every kind takes `keep` (see Source), and `constant_after`, `stuck_after`, `low` and
`high` (see About); every recording also `speed`: 1 plays it as it was taken, as if it were live, 10 ten times faster.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Dict, NamedTuple, Union

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.feed import About, Feed, Sample
from edgetl_runtime.sources.health import STATES, Health
from edgetl_runtime.sources.pacing import PacedFeed
from edgetl_runtime.sources.source import Source
from edgetl_runtime.sources.uri import Uri

__all__ = [
    "SOURCES",
    "STATES",
    "About",
    "Feed",
    "Health",
    "Sample",
    "Source",
    "SourceRow",
    "Uri",
    "open_feed",
    "open_source",
]


class SourceRow(NamedTuple):
    """Where a kind of source lives, what it imports ("" for nothing more), and how to get that."""

    module: str
    needs: str
    how: str


_CAMERA = (
    "pip install 'edgetl-runtime[camera]' for USB and network cameras and video files; on a Jetson, CSI cameras need"
    " JetPack's OpenCV (sudo apt install python3-opencv, and a virtual environment made with --system-site-packages)"
)
_HERE = "edgetl_runtime.sources"
SOURCES: Dict[str, SourceRow] = {
    "bag": SourceRow(f"{_HERE}.bag_feed", "rosbags", "pip install 'edgetl-runtime[bag]' (Python 3.10 or newer)"),
    "csi": SourceRow(f"{_HERE}.opencv_feed", "cv2", _CAMERA),
    "csv": SourceRow(f"{_HERE}.csv_feed", "", ""),
    "dir": SourceRow(f"{_HERE}.folder_feed", "", ""),
    "http": SourceRow(f"{_HERE}.opencv_feed", "cv2", _CAMERA),
    "https": SourceRow(f"{_HERE}.opencv_feed", "cv2", _CAMERA),
    "mcap": SourceRow(f"{_HERE}.mcap_feed", "mcap", "pip install 'edgetl-runtime[mcap]'"),
    "numpy": SourceRow(f"{_HERE}.array_feed", "", ""),
    "rtsp": SourceRow(f"{_HERE}.opencv_feed", "cv2", _CAMERA),
    "serial": SourceRow(f"{_HERE}.serial_feed", "serial", "pip install 'edgetl-runtime[serial]'"),
    "sim": SourceRow(f"{_HERE}.simulated_feed", "", ""),
    "v4l2": SourceRow(f"{_HERE}.opencv_feed", "cv2", _CAMERA),
    "video": SourceRow(f"{_HERE}.opencv_feed", "cv2", _CAMERA),
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # RFC 3986, section 3.1
_SUFFIXES = {
    ".mcap": "mcap", ".bag": "bag", ".db3": "bag", ".npy": "numpy", ".npz": "numpy", ".csv": "csv",
    ".avi": "video", ".mkv": "video", ".mov": "video", ".mp4": "video", ".webm": "video",
}  # fmt: skip


def open_source(address: Union[str, Path]) -> Source:
    """Open a source by its address; a plain path, also one with colons, means `file://`. Close it, or use a `with`.

    Raises SourceError for an address that means nothing, an option that there is not, a missing package (with the
    command that installs it), and what cannot be opened.
    """
    text = str(address)
    uri = Uri(text if _SCHEME.match(text) else Uri.of_path(text))
    keep = uri.integer("keep", 0)
    return Source(open_feed(uri), keep or None)


def open_feed(uri: Uri) -> Feed:
    """The feed of an address, without health or thread; refuses options that are left over."""
    if uri.scheme == "file":
        uri = uri.with_scheme(_by_suffix(uri))
    if uri.scheme not in SOURCES:
        raise SourceError(f"there is no source {uri.scheme!r}; there are {sorted([*SOURCES, 'file'])}")
    row = SOURCES[uri.scheme]
    if row.needs and importlib.util.find_spec(row.needs) is None:
        raise SourceError(f"the source {uri.scheme} needs {row.needs}, which is not installed: {row.how}")
    low, high = (uri.number(name, least=-math.inf) for name in ("low", "high"))
    constant_after = uri.integer("constant_after", About.constant_after)
    stuck_after = uri.integer("stuck_after", About.stuck_after)
    try:
        feed: Feed = importlib.import_module(row.module).load(uri)
    except ImportError as error:
        if (error.name or "").startswith("edgetl_runtime"):
            raise  # a fault of ours is not a missing package
        raise SourceError(f"{row.needs or error.name} does not load: {error}; {row.how}") from error
    try:
        speed = uri.number("speed", 0.0) or 0.0
        uri.finish()
        if speed and feed.about.live:
            raise SourceError(f"{uri.name}: speed is for recordings, and this is live")
    except SourceError:
        feed.close()
        raise
    live = feed.about.live or speed > 0
    rate_hz = feed.about.rate_hz * speed if speed and feed.about.rate_hz else feed.about.rate_hz
    about = replace(feed.about, constant_after=constant_after, stuck_after=stuck_after, live=live, rate_hz=rate_hz)
    if low is not None or high is not None:
        about = replace(about, limits=((low, high),) * len(about.channels))
    return PacedFeed(feed, about, speed)


def _by_suffix(uri: Uri) -> str:
    path = Path(uri.path)
    if path.is_dir():
        return "bag" if (path / "metadata.yaml").exists() else "dir"
    if path.suffix.lower() not in _SUFFIXES:
        raise SourceError(f"{uri.path}: no source reads this kind of file; known are {' '.join(sorted(_SUFFIXES))}")
    return _SUFFIXES[path.suffix.lower()]
