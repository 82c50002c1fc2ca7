"""T8 and T10 on a real serial line: a pseudo terminal, read by pyserial."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import numpy as np
import pytest
from edgetl_runtime.errors import SourceError
from edgetl_runtime.framing import encode_frame, parse_schema
from edgetl_runtime.sources import Sample, Source, open_source
from edgetl_runtime.sources.serial_feed import SerialFeed

from tests.runtime.sources.ports import Board

serial_port = pytest.importorskip("edgetl_runtime.sources.serial_port", reason="pyserial is not installed")

TABLE = {
    "format": "edgetl",
    "rate_hz": 100,
    "field": [{"name": name, "type": "f32", "unit": "g", "low": -16, "high": 16} for name in ("ax", "ay", "az")],
}


def frame(number: int, value: float = 0.5) -> bytes:
    payload = struct.pack("<3f", value + number % 7 * 0.01, -value, number % 5)
    return encode_frame(payload, number, number * 10_000)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    (tmp_path / "by-id").mkdir()
    made = Board(tmp_path / "by-id" / "usb-imu")
    yield made


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "imu.json"
    path.write_text(json.dumps(TABLE))
    return path


def source_of(board: Board, tmp_path: Path) -> Source:
    port = serial_port.SerialPort(board.device, 115200, by_id=tmp_path / "by-id")
    return Source(SerialFeed(port, parse_schema(TABLE), "serial://imu"))


def wait_for(done: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Until something happens in another thread; a test fails by what it then checks, not by how long it took."""
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(0.002)
    return done()


def fetch(source: Source, count: int) -> List[Sample]:
    found: List[Sample] = []
    wait_for(lambda: found.extend(source.read(0.01) or []) or len(found) >= count)
    return found


def test_what_the_board_sends_comes_out_as_samples(board: Board, schema: Path) -> None:
    with open_source(f"serial://{board.device}?baud=115200&schema={schema}") as source:
        assert source.about.channels == ("ax", "ay", "az") and source.about.units == ("g",) * 3
        board.send(b"".join(frame(number) for number in range(50)))
        samples = fetch(source, 50)
        assert [sample.data[2] for sample in samples] == [number % 5 for number in range(50)]
        assert np.diff([sample.stamp_s for sample in samples]) == pytest.approx(0.01, rel=0.011)
        assert source.health().drops == {}


def test_lost_and_damaged_frames_are_counted_by_reason(board: Board, schema: Path) -> None:
    with open_source(f"serial://{board.device}?schema={schema}") as source:
        frames = [bytearray(frame(number)) for number in range(30)]
        frames[7][5] ^= 4
        del frames[15:18]
        board.send(b"".join(map(bytes, frames)))
        assert len(fetch(source, 26)) == 26
        drops = source.health().drops
        assert drops["lost"] == 4 and drops["checksum"] + drops.get("stuffing", 0) == 1


def test_a_frame_sent_twice_is_taken_once(board: Board, schema: Path) -> None:
    with open_source(f"serial://{board.device}?schema={schema}") as source:
        board.send(frame(1) + frame(2) * 3 + frame(3) + frame(2) + frame(4))
        assert len(fetch(source, 4)) == 4
        assert wait_for(lambda: source.health().drops == {"duplicate": 2, "out_of_order": 1})


def test_a_port_has_one_reader(board: Board, schema: Path) -> None:
    address = f"serial://{board.device}?schema={schema}"
    with open_source(address), pytest.raises(SourceError, match="read by another program"):
        open_source(address)
    open_source(address).close()


def test_unplugged_and_plugged_in_under_another_name_it_is_found_again(board: Board, tmp_path: Path) -> None:
    with source_of(board, tmp_path) as source:
        board.send(b"".join(frame(number) for number in range(20)))
        assert len(fetch(source, 20)) == 20
        first, kept = board.device, Board()  # what is plugged in meanwhile takes the old place
        board.unplug()
        assert wait_for(lambda: source.health().state == "unplugged") and not source.health().learnable
        board.plug_in()
        assert board.device != first or kept.device != first
        assert wait_for(lambda: source.health().state != "unplugged")
        board.send(b"".join(frame(number) for number in range(20)))  # the board has restarted: it counts from 0
        again = fetch(source, 20)
        assert len(again) == 20
        assert source.health().drops["unplugged"] == 1 and "lost" not in source.health().drops


def test_half_a_frame_before_an_unplug_joins_nothing_after_it(board: Board, tmp_path: Path) -> None:
    with source_of(board, tmp_path) as source:
        board.send(frame(0) + frame(1)[:10])
        assert len(fetch(source, 1)) == 1
        board.unplug()
        assert wait_for(lambda: source.health().state == "unplugged")
        board.plug_in()
        assert wait_for(lambda: source.health().state != "unplugged")
        board.send(frame(1)[10:] + frame(2))
        (sample,) = fetch(source, 1)
        assert sample.data[2] == 2


def test_a_stall_is_said_and_over_when_bytes_come(board: Board, tmp_path: Path) -> None:
    with source_of(board, tmp_path) as source:
        board.send(b"".join(frame(number) for number in range(3)))
        fetch(source, 3)
        assert wait_for(lambda: source.health().state == "stale")
        board.send(frame(50))
        assert fetch(source, 1)


def test_noise_is_no_sample_and_the_next_frame_is_one(board: Board, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    with source_of(board, tmp_path) as source:
        for number in range(20):
            board.send(generator.integers(0, 256, 3000, dtype=np.uint8).tobytes() + frame(number))
        samples = fetch(source, 20)
        assert [sample.data[2] for sample in samples] == [number % 5 for number in range(20)]


def test_a_wrong_baud_rate_is_suspected(board: Board, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with source_of(board, tmp_path) as source:
        board.send(np.random.default_rng(1).integers(0, 256, 9000, dtype=np.uint8).tobytes())
        assert wait_for(lambda: "is the baud rate right" in caplog.text)
        assert wait_for(lambda: sum(source.health().drops.values()) > 20)
        assert source.read(0.0) == [] and source.health().samples == 0


def test_a_device_that_is_not_there_is_an_error_or_waited_for(tmp_path: Path, schema: Path) -> None:
    missing = tmp_path / "ttyUSB7"
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(f"serial://{missing}?schema={schema}")
    with open_source(f"serial://{missing}?schema={schema}&wait=yes") as source:
        assert source.health().state in ("starting", "unplugged")
        assert wait_for(lambda: source.health().state == "unplugged")
        board = Board(missing)
        assert wait_for(lambda: source.health().state != "unplugged")
        board.send(frame(1) + frame(2))
        assert len(fetch(source, 2)) == 2


def test_slow_readers_lose_the_oldest_and_it_is_counted(board: Board, schema: Path) -> None:
    with open_source(f"serial://{board.device}?schema={schema}&keep=10") as source:
        board.send(b"".join(frame(number) for number in range(100)))
        assert wait_for(lambda: source.health().samples == 100)
        kept = source.read()
        assert kept is not None and [sample.data[2] for sample in kept] == [number % 5 for number in range(90, 100)]
        assert source.health().drops["overrun"] == 90


def test_closing_lets_go_who_waits(board: Board, schema: Path) -> None:
    source = open_source(f"serial://{board.device}?schema={schema}")
    source.close()
    source.close()
    assert source.read() is None and list(source) == []


def test_a_network_port_reads_like_a_device(schema: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with open_source(f"serial://socket://127.0.0.1:{port}?schema={schema}") as source:
            far, _ = server.accept()
            with far:
                far.sendall(b"".join(frame(number) for number in range(20)))
                assert len(fetch(source, 20)) == 20
            assert wait_for(lambda: source.health().state == "unplugged")


def test_a_schema_is_needed_and_read_from_toml_or_json(board: Board, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="needs schema=FILE"):
        open_source(f"serial://{board.device}")
    toml = tmp_path / "imu.toml"
    toml.write_text('format = "csv"\nrate_hz = 50\n[[field]]\nname = "a"\n')
    with open_source(f"serial://{board.device}?schema={toml}") as source:
        board.send(b"junk\n1.5\n2.5\n")
        assert [sample.data.tolist() for sample in fetch(source, 2)] == [[1.5], [2.5]]
    for name, text, message in (
        ("a.toml", "format = ", "is damaged"),
        ("b.json", "[1]", "must be a table"),
        ("c.toml", "format = 'csv'", r"c\.toml: a schema needs"),
        ("d.json", "{" * 100_000, "is damaged"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(SourceError, match=message):
            open_source(f"serial://{board.device}?schema={tmp_path / name}")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(f"serial://{board.device}?schema={tmp_path / 'none.toml'}")
