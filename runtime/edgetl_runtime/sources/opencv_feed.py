"""`v4l2://`, `csi://`, `http://`, `rtsp://` and `video://`: cameras and video files by OpenCV.

    v4l2:///dev/video0?width=640&height=480&rate_hz=30&pixels=MJPG
    csi://0?width=1280&height=720&rate_hz=30       a Jetson's own camera, by GStreamer and nvarguscamerasrc
    http://10.0.0.7:8080/video?rate_hz=15          a network camera that streams MJPEG; also https:// and rtsp://
    rtsp://user:p%40ss@10.0.0.7/live               signs like @ and / in a password are escaped
    video://drive.mp4                              every frame; with speed=1 as from a camera: the newest only

`wait=yes` opens a camera although it is not there yet. A question mark that is the camera's own is written %3F. pip's
OpenCV has V4L2 and FFmpeg and no GStreamer; a CSI camera needs the one of JetPack.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional

import cv2

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources.feed import About, Sample
from edgetl_runtime.sources.uri import Uri

__all__ = ["CameraFeed", "VideoFeed", "csi_pipeline", "load"]

logger = logging.getLogger(__name__)

_LEAST_WAIT_S, _MOST_WAIT_S = 0.1, 1.0
_READ_TIMEOUT_MS = 2000
_NETWORK = ("http", "https", "rtsp")
Opener = Callable[[], Any]


def load(uri: Uri) -> Any:
    """The feed of an address of one of these kinds."""
    if uri.scheme == "video":
        return VideoFeed(uri.path, uri.name, uri.number("rate_hz"))
    wait = uri.choice("wait", ("no", "yes")) == "yes"
    if uri.scheme in _NETWORK:
        return CameraFeed(lambda: _open_network(uri.location), uri.name, uri.number("rate_hz"), wait)
    width, height = uri.integer("width", 640, least=1), uri.integer("height", 480, least=1)
    rate_hz = uri.number("rate_hz", 30.0, least=0.1) or 30.0
    if uri.scheme == "v4l2":
        pixels = uri.option("pixels", "MJPG")
        if len(pixels) != 4:
            raise SourceError(f"{uri.name}: pixels must be four letters like MJPG or YUYV; got {pixels!r}")
        return CameraFeed(lambda: _open_v4l2(uri.path, width, height, rate_hz, pixels), uri.name, rate_hz, wait)
    if not re.search(r"GStreamer:\s*YES", cv2.getBuildInformation()):
        raise SourceError(
            f"{uri.name}: this OpenCV ({cv2.__version__}, {Path(cv2.__file__).parent}) was built without GStreamer,"
            " which a CSI camera needs. Use the OpenCV of JetPack: sudo apt install python3-opencv, make the virtual"
            " environment with --system-site-packages, and uninstall pip's opencv from it"
        )
    pipeline = uri.option("pipeline") or csi_pipeline(uri.path, width, height, rate_hz)
    return CameraFeed(lambda: cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER), uri.name, rate_hz, wait)


def csi_pipeline(sensor: str, width: int, height: int, rate_hz: float) -> str:
    """What GStreamer is asked for: a Jetson's camera, converted by its own hardware, never more than one frame old."""
    if not sensor.isdigit():
        raise SourceError(f"csi:// needs the number of a sensor, like csi://0; got {sensor!r}")
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width={width},height={height},"
        f"framerate={round(rate_hz)}/1 ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert !"
        " video/x-raw,format=BGR ! appsink drop=1 max-buffers=1 sync=0"
    )


def _open_v4l2(path: str, width: int, height: int, rate_hz: float, pixels: str) -> Any:
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    letters = [ord(letter) for letter in pixels]
    capture.set(cv2.CAP_PROP_FOURCC, letters[0] | letters[1] << 8 | letters[2] << 16 | letters[3] << 24)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    capture.set(cv2.CAP_PROP_FPS, rate_hz)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    capture.set(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS)
    return capture


def _open_network(address: str) -> Any:
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _READ_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)


class CameraFeed:
    """Frames (H, W, 3) uint8 RGB as they come; a camera that fails is opened again. `opener` gives a VideoCapture."""

    def __init__(
        self,
        opener: Opener,
        name: str,
        rate_hz: Optional[float],
        wait: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opener, self._clock = opener, clock
        self.about = About(name, "frame", rate_hz=rate_hz, live=True)
        self._capture: Any = None
        self._failed = self._losses = 0
        self._wait_s, self._next_try_s, self._missed = _LEAST_WAIT_S, 0.0, False
        if not self._open() and not wait:
            there = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
            raise SourceError(f"{name} cannot be opened; cameras that are there: {there}")

    @property
    def connected(self) -> bool:
        """Did the last frame come?"""
        return self._capture is not None

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that the camera announced and did not give, and how often it was lost."""
        return {name: n for name, n in (("no_frame", self._failed), ("unplugged", self._losses)) if n}

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next frame; the driver's own timeout is two seconds."""
        if self._capture is None and not self._reopened(timeout_s):
            return []
        try:
            good, frame = self._capture.read()
        except cv2.error as error:  # a frame that cannot be decoded, or a device that went while it was read
            logger.debug("%s: %s", self.about.name, error)
            good, frame = False, None
        stamp_s = self._clock()
        if not good or frame is None or not frame.size:
            self._failed += 1
            self._lose()
            return []
        if self._missed:
            self._missed, self._wait_s = False, _LEAST_WAIT_S
            logger.warning("%s is back", self.about.name)
        return [Sample(_rgb(frame), stamp_s)]

    def close(self) -> None:
        """Give the camera free; harmless when repeated."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _open(self) -> bool:
        capture = self._opener()
        if not capture.isOpened():
            capture.release()
            return False
        self._capture = capture
        return True

    def _reopened(self, timeout_s: float) -> bool:
        now_s = self._clock()
        if now_s < self._next_try_s:
            time.sleep(max(0.0, min(self._next_try_s - now_s, timeout_s)))
            return False
        if self._open():
            return True
        self._later()
        return False

    def _lose(self) -> None:
        self._losses += 1
        if not self._missed:  # a camera that opens and gives nothing, for days, is said once
            logger.warning("%s gives no frame; opening it again", self.about.name)
        self._missed = True
        self.close()
        self._later()

    def _later(self) -> None:
        """The next try; each that brings no frame waits longer than the one before."""
        self._next_try_s = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _MOST_WAIT_S)


class VideoFeed:
    """Every frame of a video file, stamped by its number and the file's rate (or `rate_hz`)."""

    connected = True

    def __init__(self, path: str, name: str, rate_hz: Optional[float] = None) -> None:
        if not Path(path).is_file():
            raise SourceError(f"there is no video file {path}")
        self._capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(f"{path} is no video that OpenCV {cv2.__version__} can read; convert it with ffmpeg")
        self._rate_hz = rate_hz or float(self._capture.get(cv2.CAP_PROP_FPS)) or 30.0
        self._next = 0
        self.about = About(name, "frame", rate_hz=self._rate_hz)

    @property
    def drops(self) -> Mapping[str, int]:
        """Nothing is counted here: a damaged file ends early."""
        return {}

    def read(self, timeout_s: float) -> Optional[List[Sample]]:
        """The next frame."""
        good, frame = self._capture.read()
        if not good or frame is None:
            return None
        self._next += 1
        return [Sample(_rgb(frame), (self._next - 1) / self._rate_hz)]

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._capture.release()


def _rgb(frame: Any) -> Any:
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if frame.ndim == 3 else frame
