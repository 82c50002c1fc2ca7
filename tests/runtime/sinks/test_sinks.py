"""Records leave as JSON lines, over a socket and in MCAP; nobody who listens badly holds the loop up."""

from __future__ import annotations

import io
import json
import math
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks import SINKS, open_sink

PREDICTION: Dict[str, Any] = {
    "kind": "prediction", "number": 7, "stamp_s": 12.5, "label": "cup", "probability": 0.75,
    "best": [["cup", 0.75], ["plate", 0.25]], "outlier": 3.5, "generation": 4,
}  # fmt: skip


def wait_for(done: Callable[[], Any]) -> Any:
    until = time.monotonic() + 10.0
    while not done() and time.monotonic() < until:
        time.sleep(0.002)
    return done()


def test_lines_on_the_standard_output_and_at_the_end_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = open_sink("stdout")
    sink.write({"kind": "x", "a": [1.5, math.nan], "b": math.inf})
    sink.close()
    assert json.loads(capsys.readouterr().out) == {"kind": "x", "a": [1.5, None], "b": None}
    path = tmp_path / "log.jsonl"
    for number in range(2):
        sink = open_sink(f"file://{path}")
        sink.write({"number": number})
        sink.close()
        sink.close()
        sink.write({"number": "after the end"})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"number": 0}, {"number": 1}]


def test_a_full_disk_is_said_once_and_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    sink = open_sink("file:///dev/full")
    for _ in range(5):
        sink.write(PREDICTION)
    sink.close()
    assert caplog.text.count("No space left on device") == 1 and sink.lost == 5


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("pigeon://x", "no sink 'pigeon'"),
        ("file:///no/such/folder/a", "cannot be written to"),
        ("stdout:?colour=1", r"no option \['colour'\]"),
        ("unix:///no/such/folder/a.sock", "no socket can be made"),
    ],
)
def test_an_address_that_means_nothing_is_refused(address: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_sink(address)


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10.0)
    client.connect(str(path))
    return client


def test_a_socket_passes_records_on_and_labels_back(tmp_path: Path) -> None:
    path, heard = tmp_path / "edgetl.sock", []  # type: ignore[var-annotated]
    sink: Any = open_sink(f"unix://{path}", heard.append)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one, other = connected(path), connected(path)
    assert wait_for(lambda: len(sink._clients) == 2)
    sink.write(PREDICTION)
    for client in (one, other):
        assert json.loads(client.makefile().readline()) == PREDICTION
    one.sendall(b'{"label": "cup"}\n\nsau')
    other.sendall("Tasse ü\n".encode())
    one.sendall(b"cer\n")
    assert wait_for(lambda: len(heard) == 3)
    assert sorted(heard) == ["Tasse ü", "saucer", '{"label": "cup"}']
    one.close()
    assert wait_for(lambda: len(sink._clients) == 1)
    sink.close()
    sink.close()
    assert other.recv(1) == b"" and not path.exists()


def test_who_does_not_read_is_let_go_and_the_rest_are_served(tmp_path: Path) -> None:
    path = tmp_path / "edgetl.sock"
    sink: Any = open_sink(f"unix://{path}")
    sleeper, reader = connected(path), connected(path)
    assert wait_for(lambda: len(sink._clients) == 2)
    stream, lines = reader.makefile(), 0
    while len(sink._clients) == 2:
        sink.write({**PREDICTION, "pad": "x" * 2000})
        assert stream.readline()
        lines += 1
        assert lines < 10_000
    assert len(sink._clients) == 1
    sink.write(PREDICTION)
    assert json.loads(stream.readline()) == PREDICTION
    sleeper.close()
    sink.close()


def test_a_line_without_an_end_and_a_crowd_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edgetl.sock"
    heard: List[str] = []
    sink: Any = open_sink(f"unix://{path}", heard.append)
    with connected(path) as client:
        client.sendall(b"x" * 10_000)
        assert wait_for(lambda: _gone(client))
    crowd = [connected(path) for _ in range(24)]
    assert wait_for(lambda: sum(_gone(client) for client in crowd) >= 8)
    assert heard == []
    sink.close()


def test_a_line_that_fails_ends_no_one_s_hearing(tmp_path: Path) -> None:
    path, heard = tmp_path / "edgetl.sock", []  # type: ignore[var-annotated]

    def listen(line: str) -> None:
        heard.append(line)
        raise OverflowError(line)

    sink = open_sink(f"unix://{path}", listen)
    with connected(path) as client:
        client.sendall(b"a\nb\n")
        assert wait_for(lambda: heard == ["a", "b"])
    with connected(path) as client:  # and others are still let in
        client.sendall(b"c\n")
        assert wait_for(lambda: heard == ["a", "b", "c"])
    sink.close()


def test_a_disk_that_fills_up_ends_a_recording_and_no_prediction(tmp_path: Path) -> None:
    pytest.importorskip("mcap_ros2", reason="mcap-ros2-support is not installed")
    import resource

    path = tmp_path / "day.mcap"
    sink, before = open_sink(f"mcap://{path}"), resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        for number in range(400):
            sink.write({**PREDICTION, "number": number})
        sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)
    assert 0 < sink.lost < 400
    from edgetl_runtime.sources.mcap_feed import raw_messages

    with path.open("rb") as stream:
        found = [message.topic for message in raw_messages(stream, {})]
    assert 20 < found.count("/classification") <= 400 - sink.lost + 1


def _gone(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_socket_left_by_a_killed_process_is_taken_over_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "edgetl.sock"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    sink = open_sink(f"unix://{path}")
    with pytest.raises(SourceError, match="another process serving"):
        open_sink(f"unix://{path}")
    sink.close()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SourceError):
        open_sink(f"unix://{tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "precious"


def test_decisions_in_mcap_are_vision_messages_with_the_generation(tmp_path: Path) -> None:
    pytest.importorskip("mcap", reason="mcap is not installed")
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    path = tmp_path / "day.mcap"
    sink = open_sink(f"mcap://{path}")
    for generation in (4, 4, 5):
        sink.write({**PREDICTION, "generation": generation})
    sink.write({"kind": "health", "state": "ok"})
    sink.write({"kind": "prediction", "values": {"angle": 0.5}})
    sink.close()
    sink.close()
    reader = make_reader(io.BytesIO(path.read_bytes()), decoder_factories=[DecoderFactory()])
    found: Dict[str, List[Any]] = {}
    for _, channel, _, message in reader.iter_decoded_messages():
        found.setdefault(channel.topic, []).append(message)
    assert [info.database_version for info in found["/vision_info"]] == [4, 5]
    assert len(found["/classification"]) == 3
    first = found["/classification"][0]
    assert [(result.class_id, result.score) for result in first.results] == [("cup", 0.75), ("plate", 0.25)]
    assert (first.header.stamp.sec, first.header.stamp.nanosec) == (12, 500_000_000)
    assert [json.loads(message.data)["kind"] for message in found["/edgetl"]] == ["health", "prediction"]
    with pytest.raises(SourceError, match="never written over"):
        open_sink(f"mcap://{path}")


def test_every_sink_is_in_the_table() -> None:
    assert set(SINKS) == {"file", "mcap", "mqtt", "mqtts", "ros2", "stdout", "unix"}
