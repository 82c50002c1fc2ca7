"""`edgetl-runtime run` as a robot starts it, for `make robot-day` and `make camera-day`: spoken to over its socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edgetl_runtime as rt

from benchmarks.evidence import ROOT

__all__ = ["Device", "kept"]


class Device:
    """The process on a source; `options` are those of `run`, the state lies in `folder`/state."""

    def __init__(self, folder: Path, source: str, options: Sequence[str]) -> None:
        self._socket = folder / "edgetl.sock"
        command = [
            sys.executable, "-m", "edgetl_runtime.cli", "run", source, "--state", str(folder / "state"),
            "--allow-unsigned", "--to", f"unix://{self._socket}", *options,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=(folder / "device.log").open("ab"))
        self._client: socket.socket | None = None
        self._buffer = b""

    def records(self) -> list[dict[str, Any]]:
        """What it has said since; connects when it is there."""
        if self._client is None:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(str(self._socket))
            except OSError:
                client.close()
                return []
            client.setblocking(False)
            self._client = client
        try:
            data = self._client.recv(1 << 20)
        except OSError:
            return []
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def label(self, stamp_s: float, label: str) -> bool:
        """Send a label for the input of that moment; False when nobody takes it."""
        if self._client is None:
            return False
        try:
            self._client.sendall(json.dumps({"label": label, "stamp_s": stamp_s}).encode() + b"\n")
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """As a cut of the power, to the process."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """As a supervisor ends it; its exit code."""
        self._process.terminate()
        return self._process.wait(timeout=60)


def kept(folder: Path, acknowledged: Mapping[int, str]) -> tuple[int, int]:
    """How many samples the state in `folder` holds, and how many that were acknowledged it lacks."""
    with rt.open(None, folder / "state", allow_unsigned=True, read_only=True) as session:
        held = {sample.id: sample.label for sample in session.samples()}
    return len(held), sum(held.get(number) != label for number, label in acknowledged.items())
