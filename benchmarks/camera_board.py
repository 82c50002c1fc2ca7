"""The camera of `make camera-day`: another process, which shows photographs as an MJPEG stream over HTTP.

    python -m benchmarks.camera_board PHOTOS.json PORT HZ FRAMES SCRIPT

PHOTOS.json lists paths; each is shown for FRAMES frames of 640x480 as a hand holds it: never quite the same twice.
SCRIPT is JSON: rows of [photo, what, seconds]; "stall" sends nothing, "dark" covers the lens, "unplug" closes the
connection and refuses new ones. The photographs go on meanwhile and are lost. When each was shown is said as JSON on
the standard output, in monotonic seconds.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from edgetl_runtime.sources.images import read_image

__all__ = ["SIZE", "held_up"]

SIZE = (640, 480)
_ROOM = 12  # pixels that a hand moves a photograph by
_BOUNDARY = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def held_up(path: Path, generator: np.random.Generator) -> np.ndarray:
    """The photograph as the camera sees it once, (480, 640, 3) uint8 BGR: filling the picture, a little moved."""
    frame = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGR)
    width, height = SIZE
    scale = max((width + _ROOM) / frame.shape[1], (height + _ROOM) / frame.shape[0])
    size = (max(width + _ROOM, round(frame.shape[1] * scale)), max(height + _ROOM, round(frame.shape[0] * scale)))
    frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    dx, dy = generator.integers(-_ROOM // 2, _ROOM // 2 + 1, 2)
    return frame[top + dy : top + dy + height, left + dx : left + dx + width]


class Wire:
    """Serves one viewer at a time; what nobody takes is gone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._viewer: socket.socket | None = None
        self.plug_in()

    def plug_in(self) -> None:
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind(("127.0.0.1", self._port))
        self._server.listen()
        self._server.setblocking(False)

    def unplug(self) -> None:
        self._server.close()
        self._let_go()

    def send(self, picture: bytes) -> None:
        try:
            viewer, _ = self._server.accept()
        except BlockingIOError:
            pass
        else:
            self._let_go()
            viewer.settimeout(0.5)
            self._viewer = viewer
            self._write(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        self._write(_BOUNDARY % len(picture) + picture + b"\r\n")

    def _write(self, data: bytes) -> None:
        try:
            if self._viewer is not None:
                self._viewer.sendall(data)
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        if self._viewer is not None:
            self._viewer.close()
        self._viewer = None


def main() -> int:
    photos, port, hz, frames = json.loads(Path(sys.argv[1]).read_text()), *map(int, sys.argv[2:5])
    script, generator = sorted(json.loads(sys.argv[5])), np.random.default_rng(0)
    cv2.setNumThreads(1)
    wire, dark_until = Wire(port), 0.0
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    began, shown = time.monotonic(), -1
    for turn in range(len(photos) * frames):
        due = began + turn / hz
        if due < time.monotonic() - 0.5:
            continue  # the day did not wait
        photo = turn // frames
        if script and photo >= script[0][0]:
            _, what, seconds = script.pop(0)
            if what == "dark":
                dark_until = due + seconds
            else:
                if what == "unplug":
                    wire.unplug()
                time.sleep(seconds)
                if what == "unplug":
                    wire.plug_in()
                continue
        frame = held_up(Path(photos[photo]), generator) if due > dark_until else np.zeros((*SIZE[::-1], 3), np.uint8)
        picture = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        time.sleep(max(0.0, due - time.monotonic()))
        if photo != shown and due > dark_until:
            shown = photo
            print(json.dumps({"photo": photo, "at": time.monotonic()}), flush=True)
        wire.send(picture)
    time.sleep(1.0)
    wire.unplug()
    return 0


if __name__ == "__main__":
    sys.exit(main())
