"""The host's side of the device process: start it, kill it after an acknowledged label, start it again."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.demo.domains import CLASSES, SHOTS, Target
from edgetl.errors import DemoError

__all__ = ["DeviceRun", "Kill", "drive_device", "write_data"]

_log = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("device.py")
# A device process takes a few seconds; one that is silent for this long hangs.
_PATIENCE_S = 300.0

Event = dict[str, Any]


@dataclass(frozen=True)
class Kill:
    """SIGKILL after label number `after`: how many were acknowledged by then, how many were found again.

    One more may be found than was acknowledged: durable, but the process died before it could say so.
    `restart_s` is from the start of the new process to its first answerable moment.
    """

    after: int
    acknowledged: int
    found: int
    restart_s: float


@dataclass(frozen=True)
class DeviceRun:
    """All that one device said: `measured` by stage (labels a class), its last words, and the kill.

    `lost` counts acknowledged samples that were missing after the restart or at the end.
    """

    measured: dict[int, Event]
    done: Event
    learn_ms: tuple[float, ...]
    kill: Kill
    lost: int


@dataclass
class _Heard:
    measured: dict[int, Event] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)
    opened: list[Event] = field(default_factory=list)
    done: list[Event] = field(default_factory=list)

    def note(self, event: Event) -> None:
        kind = event["event"]
        if kind == "learnt":
            self.acknowledged.append(event["id"])
        elif kind == "measured":
            self.measured[event["stage"]] = event
        elif kind == "opened":
            self.opened.append(event)
        elif kind == "done":
            self.done.append(event)


def write_data(folder: Path, target: Target) -> None:
    """The files that the device reads in place of a camera and a person who labels."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "test_frames.npy", target.test_frames)
    np.save(folder / "test_labels.npy", target.test_labels)
    np.save(folder / "learn_frames.npy", target.pool_frames[target.order])
    np.save(folder / "learn_labels.npy", target.pool_labels[target.order])
    (folder / "plan.json").write_text(json.dumps({"stages": SHOTS, "classes": CLASSES}), encoding="utf-8")


def drive_device(
    python: Path, bundle: Path, folder: Path, kill_after: int, progress: Callable[[int], None]
) -> DeviceRun:
    """Run the device on `folder`/data, kill it right after acknowledgement number `kill_after`, run it again.

    `progress` hears how many samples are acknowledged. Raises DemoError when the process fails or hangs.
    """
    command = [str(python), "-I", str(_SCRIPT), str(bundle), str(folder / "state"), str(folder / "data")]
    heard = _Heard()
    status = _listen(command, folder, heard, kill_after, progress)
    if status != -signal.SIGKILL:
        raise _failed(command, folder, f"ended with {status} before it could be killed")
    before = list(heard.acknowledged)
    status = _listen(command, folder, heard, None, progress)
    if status != 0 or not heard.done:
        raise _failed(command, folder, f"ended with {status} after its restart")
    reopened, done = heard.opened[-1], heard.done[-1]
    lost = (set(before) - set(reopened["kept"])) | (set(heard.acknowledged) - set(done["kept"]))
    return DeviceRun(
        measured=heard.measured,
        done=done,
        learn_ms=tuple(done["learn_ms"]),
        kill=Kill(kill_after, len(before), len(reopened["kept"]), reopened["seconds"]),
        lost=len(lost),
    )


def _listen(
    command: list[str], folder: Path, heard: _Heard, kill_after: int | None, progress: Callable[[int], None]
) -> int:
    """One life of the process, to its end or to the kill; its exit status."""
    with _started(command, folder) as process:
        for event in _events(process):
            heard.note(event)
            progress(len(heard.acknowledged))
            if event["event"] == "learnt" and len(heard.acknowledged) == kill_after:
                process.send_signal(signal.SIGKILL)
                # What it had said before it died was said: the pipe still gives it.
                for late in _events(process):
                    heard.note(late)
                break
        return process.wait()


@contextmanager
def _started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    _log.info("starting the device: %s", " ".join(command))
    with (folder / "device.log").open("a", encoding="utf-8") as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
            )
        except OSError as error:
            raise DemoError(f"cannot start the device's Python {command[0]}: {error}") from error
        watch = threading.Timer(_PATIENCE_S, process.kill)
        watch.start()
        try:
            with process:
                yield process
        finally:
            watch.cancel()
            process.kill()


def _events(process: subprocess.Popen[str]) -> Iterator[Event]:
    assert process.stdout is not None
    for line in process.stdout:
        # A killed process may leave half a line: that was never said.
        if line.endswith("\n"):
            yield json.loads(line)


def _failed(command: list[str], folder: Path, what: str) -> DemoError:
    lines = (folder / "device.log").read_text(encoding="utf-8").strip().splitlines()
    return DemoError(
        f"the device process {what}: {lines[-1] if lines else 'it said nothing'}; all it said is in"
        f" {folder / 'device.log'}, its command was {' '.join(command)}"
    )
