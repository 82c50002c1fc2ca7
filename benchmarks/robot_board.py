"""The watch of `make robot-day`: another process, which sends a day of real motion over a pseudo terminal.

    python -m benchmarks.robot_board SAMPLES.npy LINK HZ SCRIPT

SCRIPT is JSON: rows of [sample, what, seconds]; "stall" sends nothing, "unplug" closes the terminal and opens another
under the same link. The motion goes on meanwhile and is lost. Each stretch is said as JSON on the standard output:
which sample was sent at which monotonic time.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import time
import tty
from pathlib import Path

import numpy as np
from edgetl_runtime.framing import encode_frame

__all__ = ["Line"]

_TICK_S = 0.01


class Line:
    """A pseudo terminal under a link, as udev's links by id."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self.plug_in()

    def plug_in(self) -> None:
        self.end, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self.end, False)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._far))

    def unplug(self) -> None:
        self._link.unlink()
        os.close(self._far)
        os.close(self.end)

    def send(self, data: bytes) -> None:
        """As a wire does: what nobody takes is gone."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.end, data)


def main() -> int:
    samples, hz = np.load(sys.argv[1]), float(sys.argv[3])
    line = Line(Path(sys.argv[2]))
    script = sorted(json.loads(sys.argv[4]))
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    sent, said = 0, False
    while sent < len(samples):
        if script and sent >= script[0][0]:
            _, what, seconds = script.pop(0)
            if what == "unplug":
                line.unplug()
            time.sleep(seconds)
            if what == "unplug":
                line.plug_in()
            sent, said = int((time.monotonic() - began) * hz), False
            continue
        due = min(len(samples), int((time.monotonic() - began) * hz) + 1)
        if due > sent:
            if not said:
                print(json.dumps({"sample": sent, "at": began + sent / hz}), flush=True)
                said = True
            frames = [
                encode_frame(struct.pack("<6f", *samples[index]), index, round(index * 1e6 / hz))
                for index in range(sent, due)
            ]
            line.send(b"".join(frames))
            sent = due
        time.sleep(_TICK_S / 2)
    time.sleep(1.0)
    line.unplug()
    return 0


if __name__ == "__main__":
    sys.exit(main())
