"""A supervisor hears from the loop itself, or not at all; and the unit that is shipped is one that systemd takes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List

import pytest
from edgetl_runtime.watchdog import Watchdog, notify
from PIL import Image

from tests.runtime import golden

SERVICE = Path(__file__).resolve().parents[2] / "examples" / "service"
with_examples = pytest.mark.skipif(not SERVICE.is_dir(), reason="examples/ lies beside the tests in a checkout only")


class Listener:
    """What stands for systemd."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def heard(self) -> List[str]:
        self.socket.setblocking(False)
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def next(self) -> str:
        self.socket.settimeout(30)
        return self.socket.recv(4096).decode()


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    made = Listener(address)
    yield made
    made.socket.close()


def test_without_a_supervisor_nothing_is_sent_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert not notify("READY=1")
    watchdog = Watchdog()
    watchdog.ready()
    watchdog.alive()
    for address in (str(tmp_path / "nobody"), "relative", "@nobody-listens-here"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify("READY=1")
    Watchdog(tmp_path / "no such folder" / "health.json").ready()


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(f"\0edgetl-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@edgetl-{os.getpid()}")
    assert notify("READY=1")
    assert listener.heard() == ["READY=1"]
    listener.socket.close()


def test_the_supervisor_hears_of_answers_often_enough_and_not_of_each(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    now = [0.0]
    watchdog = Watchdog(clock=lambda: now[0])
    watchdog.ready()
    heard = []
    for frame in range(1000):  # 50 s at 20 frames a second
        now[0] = frame * 0.05
        watchdog.alive()
        heard += [(now[0], message) for message in listener.heard()]
    watchdog.stopping()
    pings = [when for when, message in heard if message == "WATCHDOG=1"]
    assert heard[0][1] == "READY=1" and listener.heard() == ["STOPPING=1"]
    assert len(pings) == 20
    assert max(later - sooner for sooner, later in zip(pings, pings[1:])) <= 10.0 / 2


@pytest.mark.parametrize(("period", "process"), [("", ""), ("x", ""), ("10000000", "1")])
def test_who_was_not_asked_does_not_ping(
    period: str, process: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", period)
    monkeypatch.setenv("WATCHDOG_PID", process)
    Watchdog().alive()
    assert listener.heard() == []


def test_the_health_record_is_whole_at_any_time_and_says_what_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    now = [100.0]
    watchdog = Watchdog(clock=lambda: now[0])
    watchdog.ready(generation=3)
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["state"], record["generation"], record["pid"]) == ("ready", 3, os.getpid())
    for number in range(50):
        now[0] += 0.1
        watchdog.alive(generation=4 + number)
    record = json.loads((tmp_path / "health.json").read_text())
    assert record["state"] == "serving" and 40 < record["answers"] <= 50
    assert record["generation"] == 3 + record["answers"] and record["mono_s"] <= now[0]
    watchdog.stopping()
    assert json.loads((tmp_path / "health.json").read_text())["state"] == "stopped"
    assert [path.name for path in tmp_path.iterdir()] == ["health.json"]


@with_examples
def test_the_example_pings_while_it_answers_and_is_silent_when_it_hangs(
    tmp_path: Path, listener: Listener
) -> None:
    golden.opened(tmp_path / "state").close()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    Image.fromarray(golden.frames()[0]).save(str(inbox / "a.png"))
    loop = subprocess.Popen(
        [sys.executable, str(SERVICE / "inference_loop.py"), str(inbox)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "EDGETL_STATE": str(tmp_path / "state"),
            "EDGETL_ALLOW_UNSIGNED": "1", "WATCHDOG_USEC": "400000", "RUNTIME_DIRECTORY": str(tmp_path),
        },
    )  # fmt: skip
    try:
        assert listener.next() == "READY=1"
        assert loop.stdout is not None
        assert json.loads(loop.stdout.readline())["label"] in "012345678"
        assert {listener.next() for _ in range(5)} == {"WATCHDOG=1"}
        loop.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, loop.pid, os.WSTOPPED)
        listener.heard()
        listener.socket.settimeout(2)  # five times the period
        with pytest.raises(socket.timeout):
            listener.socket.recv(4096)
    finally:
        loop.kill()
        loop.communicate()
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["state"], record["policy"], record["generation"]) == ("serving", "guarded", 0)


@with_examples
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    text = (SERVICE / "edgetl.service").read_text()
    for needed in (
        "Type=notify", "WatchdogSec=10", "Restart=on-failure", "StartLimitBurst=", "StartLimitIntervalSec=",
        "MemoryMax=", "ProtectSystem=strict", "ReadWritePaths=/var/lib/edgetl", "NoNewPrivileges=yes",
    ):  # fmt: skip
        assert needed in text
    # Only the program is not there on this machine.
    unit = tmp_path / "edgetl.service"
    unit.write_text(text.replace("/opt/edgetl/bin/python", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    if "Failed to initialize" in done.stderr or "Failed to create" in done.stderr:
        pytest.skip(f"systemd-analyze cannot run here: {done.stderr}")
    assert (done.returncode, done.stderr) == (0, "")
    broken = tmp_path / "broken.service"
    broken.write_text(unit.read_text().replace("Type=notify", "Type=nonsense").replace("WatchdogSec=", "WatchDogsec="))
    done = subprocess.run(["systemd-analyze", "verify", str(broken)], capture_output=True, text=True, check=False)
    assert "nonsense" in done.stderr and "WatchDogsec" in done.stderr  # it does look
