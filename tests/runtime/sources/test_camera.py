"""Cameras by OpenCV. There is none here: a video file is read through the same OpenCV calls in its place."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sources import Source, open_source

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from edgetl_runtime.sources.opencv_feed import CameraFeed, csi_pipeline  # noqa: E402

SIZE = (64, 48)


def picture(number: int) -> Any:
    """RGB whose red tells the number, with a texture, so that no two are alike."""
    frame = np.random.default_rng(number).integers(0, 60, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    frame[:, :, 0] = 40 + 7 * number
    return frame


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, SIZE)
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG")
    for number in range(30):
        writer.write(cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def number_of(frame: Any) -> int:
    return round((float(np.median(frame[:, :, 0])) - 40) / 7)


def test_a_video_gives_every_frame_in_rgb_at_its_own_rate(video: Path) -> None:
    with open_source(video) as source:
        assert source.about.rate_hz == 25.0 and source.about.kind == "frame"
        samples = list(source)
        assert source.health().drops == {}
    assert [number_of(sample.data) for sample in samples] == list(range(30))
    assert all(sample.data.shape == (48, 64, 3) and sample.data.dtype == np.uint8 for sample in samples)
    assert [sample.stamp_s for sample in samples] == pytest.approx(np.arange(30) / 25)
    assert not any(sample.doubt for sample in samples)


def test_a_video_played_as_a_camera_keeps_the_newest_frame(video: Path) -> None:
    with open_source(f"video://{video}?speed=40") as source:
        source._thread.join()  # type: ignore[union-attr]
        (sample,) = source.read() or []
        assert number_of(sample.data) == 29
        assert source.health().drops["overrun"] == 29


class Opener:
    """Opens the video as if it were a camera; gives what `refuse` says instead, and counts."""

    def __init__(self, video: Path) -> None:
        self.video, self.opened, self.refuse = str(video), 0, 0

    def __call__(self) -> Any:
        self.opened += 1
        if self.refuse:
            self.refuse -= 1
            return cv2.VideoCapture("no such camera")
        return cv2.VideoCapture(self.video)


def frames_of(source: Source, count: int) -> List[int]:
    found: List[int] = []
    while len(found) < count:
        found += [number_of(sample.data) for sample in source.read() or []]
    return found


def test_a_camera_that_fails_is_opened_again_until_it_is_back(video: Path) -> None:
    opener = Opener(video)
    with Source(CameraFeed(opener, "v4l2:///dev/video0", None), keep=100) as source:
        opener.refuse = 2
        assert frames_of(source, 45)[:45] == [*range(30), *range(15)]  # at its end the file is gone, as a plug pulled
        assert opener.opened == 4
        drops = source.health().drops
        assert drops["no_frame"] >= 1 and drops["unplugged"] >= 1


class NetworkCamera:
    """Streams numbered pictures as MJPEG over HTTP, to who knows the password, until it is unplugged."""

    KNOWN = b"Authorization: Basic " + base64.b64encode(b"user:s/ecret@%41")

    def __init__(self) -> None:
        self.port = 0
        self.number = 0
        self.plug_in()

    def plug_in(self) -> None:
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        self._server.listen()
        self._server.settimeout(0.1)
        self._plugged = True
        self._thread = threading.Thread(target=self._serve, args=(self._server,))
        self._thread.start()

    def unplug(self) -> None:
        self._plugged = False
        self._thread.join()
        self._server.close()

    def _serve(self, server: socket.socket) -> None:
        while self._plugged:
            with contextlib.suppress(OSError):
                viewer, _ = server.accept()
                with viewer:
                    viewer.settimeout(1.0)
                    if self.KNOWN not in viewer.recv(4096):
                        viewer.sendall(b'HTTP/1.0 401 Who?\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n')
                        continue
                    viewer.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n")
                    while self._plugged:
                        self.number = (self.number + 1) % 25
                        frame = cv2.cvtColor(picture(self.number), cv2.COLOR_RGB2BGR)
                        data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 99])[1].tobytes()
                        head = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                        viewer.sendall(head + data + b"\r\n")
                        time.sleep(0.02)


@pytest.fixture
def network_camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera()
    yield camera
    if camera._plugged:
        camera.unplug()


def test_a_network_camera_is_read_and_found_again(
    network_camera: NetworkCamera, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"http://user:s%2Fecret%40%2541@127.0.0.1:{network_camera.port}/%3Fview=1?rate_hz=50&keep=50"
    with open_source(address) as source:
        assert source.about.live and "ecret" not in source.about.name
        before = frames_of(source, 10)
        assert all((later - sooner) % 25 <= 3 for sooner, later in zip(before, before[1:]))  # in their order
        network_camera.unplug()
        until = time.monotonic() + 10.0
        while source.health().state != "unplugged" and time.monotonic() < until:
            source.read(0.05)
        assert source.health().state == "unplugged"
        network_camera.plug_in()
        assert len(frames_of(source, 5)) >= 5
        assert source.health().drops["unplugged"] >= 1
    assert [record.levelno for record in caplog.records if "is back" in record.message] == [logging.WARNING]


def test_a_camera_that_is_not_there_yet_is_waited_for_when_told_to(video: Path) -> None:
    opener = Opener(video)
    opener.refuse = 2
    with Source(CameraFeed(opener, "v4l2:///dev/video0", None, wait=True), keep=100) as source:
        assert source.health().state in ("unplugged", "starting")
        assert frames_of(source, 1)[0] == 0


def test_a_camera_that_opens_and_gives_nothing_is_tried_less_often_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Empty:
        def isOpened(self) -> bool:
            return True

        def read(self) -> Any:
            raise cv2.error("VIDIOC_DQBUF: No such device")

        def release(self) -> None: ...

    now_s = [0.0]
    feed, opened = CameraFeed(Empty, "v4l2:///dev/video0", 30.0, clock=lambda: now_s[0]), 0
    for _ in range(600):  # a minute, ten tries a second
        now_s[0] += 0.1
        before = feed.drops.get("no_frame", 0)
        assert feed.read(0.0) == []
        opened += feed.drops.get("no_frame", 0) > before
    assert opened <= 65
    assert caplog.text.count("gives no frame") == 1


def test_a_camera_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SourceError, match="cannot be opened; cameras that are there"):
        open_source("v4l2:///dev/video97")
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source("http://127.0.0.1:9/")
    with pytest.raises(SourceError, match="four letters"):
        open_source("v4l2:///dev/video97?pixels=JPG")
    with pytest.raises(SourceError, match="must be a whole number of at least 1"):
        open_source("v4l2:///dev/video97?width=0")


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"junk" * 100)
    with pytest.raises(SourceError, match="is no video"):
        open_source(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="no video file"):
        open_source(tmp_path / "b.mp4")


def test_a_jetson_s_own_camera_needs_its_own_opencv_and_the_error_says_so() -> None:
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(SourceError, match=r"without GStreamer.*apt install python3-opencv.*--system-site-packages"):
        open_source("csi://0")


def test_the_pipeline_of_a_jetson_never_holds_an_old_frame() -> None:
    pipeline = csi_pipeline("1", 1280, 720, 30.0)
    assert "nvarguscamerasrc sensor-id=1 " in pipeline and "width=1280,height=720,framerate=30/1" in pipeline
    assert pipeline.endswith("appsink drop=1 max-buffers=1 sync=0")
    with pytest.raises(SourceError, match="number of a sensor"):
        csi_pipeline("0 ! filesink", 640, 480, 30.0)
