"""`edgetl-runtime run`: predictions out, labels in, by socket, standard input and keys."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
from edgetl_runtime.cli import main
from edgetl_runtime.cli.keys import Keys, keys_of
from edgetl_runtime.cli.run import parse_label
from edgetl_runtime.errors import SourceError
from edgetl_runtime.live import LabelRequest

from tests.runtime import golden


@pytest.fixture
def state(tmp_path: Path) -> Path:
    golden.opened(tmp_path / "state").close()
    return tmp_path / "state"


@pytest.fixture
def digits(tmp_path: Path) -> str:
    np.save(tmp_path / "digits.npy", golden.frames()[:80])
    return f"numpy://{tmp_path / 'digits.npy'}?rate_hz=20"


def records(text: str, kind: str) -> List[Dict[str, Any]]:
    return [record for record in map(json.loads, text.splitlines()) if record["kind"] == kind]


def test_a_recording_is_predicted_to_its_end(
    state: Path, digits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    arguments = ["run", digits, "--state", str(state), "--allow-unsigned", "--to", "stdout", "--to", f"file://{log}"]
    assert main(arguments) == 0
    found = records(capsys.readouterr().out, "prediction")
    with golden.opened(state, None) as session:
        expected = session.predict_many(golden.frames()[:80])
    assert [record["label"] for record in found] == [prediction.label for prediction in expected]
    assert records(log.read_text(), "prediction") == found
    assert "decision" in found[0] and "age_ms" not in found[0]


def command(state: Path, address: str, *options: str) -> List[str]:
    start = [sys.executable, "-m", "edgetl_runtime.cli", "run", address, "--state", str(state)]
    return [*start, "--allow-unsigned", *options]


def test_labels_on_the_standard_input_are_learnt_and_durable_when_said_so(state: Path, digits: str) -> None:
    process = subprocess.Popen(
        command(state, f"{digits}&speed=1", "--labels", "--name", "desk"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    said = False
    for line in process.stdout:
        record = json.loads(line)
        if record["kind"] == "prediction" and record["number"] >= 5 and not said:
            said = True
            process.stdin.write('{"label": "eleven", "number": 2, "teach": true}\n{"label": 3}\n')
            process.stdin.flush()
        if record["kind"] == "learnt":
            process.kill()  # it was acknowledged: it must be there
            break
    process.wait(timeout=30)
    with golden.opened(state, None) as session:
        (sample,) = session.samples()
    assert (sample.label, sample.source, sample.id) == ("eleven", "desk", record["id"])


def test_it_ends_cleanly_when_told_to(state: Path, digits: str) -> None:
    process = subprocess.Popen(
        command(state, f"{digits}&speed=0.01", "--labels"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["kind"] in ("prediction", "health")
    process.terminate()
    assert process.wait(timeout=30) == 0
    done = subprocess.run(
        command(state, f"{digits}&speed=0.01", "--for", "0.3"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and done.stderr.count("WARNING") <= 1  # that nobody signed the bundle


def test_a_source_that_does_not_fit_the_bundle_is_one_line(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 3)))
    for options in ([], ["--rate-hz", "20"]):
        arguments = ["run", f"numpy://{tmp_path / 'a.npy'}?rate_hz=1", "--state", str(state), "--allow-unsigned"]
        assert main([*arguments, *options]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("edgetl-runtime run: ") and "bundle" in error


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("cup", LabelRequest("cup")),
        ("a red cup", LabelRequest("a red cup")),
        ('{"label": "cup"}', LabelRequest("cup")),
        ('{"label": "cup", "number": 12, "teach": true}', LabelRequest("cup", 12, None, True)),
        ('{"label": "cup", "stamp_s": 1.5}', LabelRequest("cup", None, 1.5)),
        ('{"label": "cup", "place": "door"}', LabelRequest("cup", place="door")),
        ('{"targets": {"angle": 0.2, "gear": 1}}', LabelRequest(None, targets={"angle": 0.2, "gear": 1})),
    ],
)
def test_a_label_is_text_or_json(line: str, request_: LabelRequest) -> None:
    assert parse_label(line) == request_


@pytest.mark.parametrize(
    "line",
    ['{"label": 3}', "{}", '{"label": "a", "number": "1"}', '{"label": "a", "stamp_s": NaN}', "{", '{"a": ' * 10_000,
     '{"label": "a", "stamp_s": ' + "9" * 400 + "}",
     '{"label": "a", "place": 1}',
     '{"targets": [1]}', '{"targets": {"a": true}}', '{"targets": {"a": "1"}}', '{"label": "a", "targets": {"a": 1}}',
     '{"label": "a", "colour": 1}', '{"label": "a", "teach": 1}', '{"label": "a", "number": true}'],
)  # fmt: skip
def test_a_senseless_label_is_refused(line: str) -> None:
    with pytest.raises(SourceError):
        parse_label(line)


def test_each_label_gets_a_key_of_its_own() -> None:
    assert keys_of(["cup", "plate", "Fork", " cap"]) == {"c": "cup", "p": "plate", "f": "Fork", "a": "cap"}
    assert keys_of(["a", "aa"]) == {"a": "a", "1": "aa"}
    for wrong in (["cup", "cup"], [""], []):
        with pytest.raises(SourceError):
            keys_of(wrong)


def wait_for(done: Callable[[], Any]) -> Any:
    until = time.monotonic() + 20.0
    while not done() and time.monotonic() < until:
        time.sleep(0.005)
    return done()


def test_keys_are_heard_without_enter_and_the_terminal_is_put_back() -> None:
    import termios

    here, there = pty.openpty()
    before = termios.tcgetattr(there)
    with Keys(["cup", "plate"], there) as keys:
        assert "[c] cup  [p] plate" in keys.help
        os.write(here, b"pxC")
        heard = iter(keys)
        assert [next(heard), next(heard)] == ["plate", "cup"]
    assert termios.tcgetattr(there) == before
    os.close(here)
    os.close(there)
    read_end, write_end = os.pipe()
    with pytest.raises(SourceError, match="needs a terminal"):
        Keys(["cup"], read_end)
    os.close(read_end)
    os.close(write_end)


def test_a_pressed_key_learns_what_is_seen(state: Path, digits: str) -> None:
    here, there = pty.openpty()
    process = subprocess.Popen(
        command(state, f"{digits}&speed=1", "--teach", "cup,plate"),
        stdin=there, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    learnt = None
    for line in process.stdout:
        record = json.loads(line)
        if record["kind"] == "prediction" and record["number"] == 5:
            os.write(here, b"p")
        if record["kind"] == "learnt":
            learnt = record
    process.wait(timeout=30)
    assert learnt is not None and learnt["label"] == "plate"
    os.close(here)
    os.close(there)
    with golden.opened(state, None) as session:
        assert [sample.label for sample in session.samples()] == ["plate"]


def test_over_mqtt_predictions_go_out_and_labels_come_in(state: Path, digits: str, tmp_path: Path) -> None:
    paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    from tests.runtime.sinks.brokers import MqttBroker

    broker, heard = MqttBroker(tmp_path), []  # type: ignore[var-annotated]
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, message: heard.append(json.loads(message.payload))
    client.connect("127.0.0.1", broker.port)
    client.subscribe("robot/#")
    client.loop_start()
    process = subprocess.Popen(
        command(state, f"{digits}&speed=0.1", "--to", f"mqtt://127.0.0.1:{broker.port}/robot?labels=yes"),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def of(kind: str) -> List[Dict[str, Any]]:
        return [record for record in list(heard) if isinstance(record, dict) and record.get("kind") == kind]

    assert wait_for(lambda: of("prediction"))
    client.publish("robot/label", json.dumps({"label": "eleven", "number": of("prediction")[0]["number"]}), qos=1)
    client.publish("robot/label", '{"label": 3}', qos=1)
    assert wait_for(lambda: of("learnt") and of("refused"))
    process.terminate()
    assert process.wait(timeout=30) == 0
    client.disconnect()
    client.loop_stop()
    broker.stop()
    with golden.opened(state, None) as session:
        assert [sample.label for sample in session.samples()] == ["eleven"]


def test_the_supervisor_hears_from_the_loop_and_not_from_one_that_hangs(
    state: Path, digits: str, tmp_path: Path
) -> None:
    """T13: READY, pings of its own while it waits for a sensor, none once it is stopped."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(address)
        supervisor.settimeout(30.0)
        process = subprocess.Popen(
            command(state, f"{digits}&speed=0.01"), stdout=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"},
        )  # fmt: skip
        assert supervisor.recv(100) == b"READY=1"
        assert [supervisor.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        process.send_signal(signal.SIGSTOP)
        supervisor.settimeout(1.0)
        with pytest.raises(socket.timeout):
            while True:  # what was on its way
                supervisor.recv(100)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        assert process.wait(timeout=30) == 0
