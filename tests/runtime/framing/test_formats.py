"""Every format: its readings come whole, however the bytes are cut, and damage is counted and forgotten."""

from __future__ import annotations

import struct
from typing import Any, List

import numpy as np
import pytest
from edgetl_runtime.framing import FORMATS, Reading, encode_frame, open_decoder, parse_schema
from edgetl_runtime.framing.edgetl_frame import decode_frame
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.framing.schemas import IMU, SENDERS, Sender

ROWS = [[number, -number, 9806, 0, 256 * number % 30000, -32768] for number in range(1, 60)]


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> Sender:
    return SENDERS[request.param]


def stream(sender: Sender, rows: List[List[int]] = ROWS) -> bytes:
    return b"".join(sender.send(number, row) for number, row in enumerate(rows))


def rows_of(readings: List[Reading]) -> List[List[float]]:
    return [reading.values.tolist() for reading in readings]


def started(sender: Sender) -> Any:
    """A decoder that has seen the end of a line: one that begins in the middle throws that line away."""
    decoder = open_decoder(sender.schema)
    assert decoder.feed(b"\n" if sender.schema.format in ("csv", "nmea") else b"") == []
    return decoder


def test_every_format_is_tested() -> None:
    assert {sender.schema.format for sender in SENDERS.values()} == set(FORMATS)


def test_the_rows_that_were_sent_come_out(sender: Sender) -> None:
    decoder = started(sender)
    readings = decoder.feed(stream(sender))
    assert rows_of(readings) == ROWS
    assert not any(decoder.faults.values())
    ticks = [reading.ticks for reading in readings]
    assert np.all(np.diff(ticks) == ticks[1] - ticks[0])  # type: ignore[operator]


@given(data=st.data())
def test_however_the_bytes_are_cut_the_same_comes_out(data: Any) -> None:
    sender = SENDERS[data.draw(st.sampled_from(sorted(SENDERS)))]
    whole, decoder, readings = stream(sender), started(sender), []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=30)))
    for start, stop in zip([0, *cuts], [*cuts, len(whole)]):
        readings += decoder.feed(whole[start:stop])
    assert rows_of(readings) == ROWS


@given(data=st.data())
def test_any_bytes_are_taken_and_little_is_kept(data: Any) -> None:
    sender = SENDERS[data.draw(st.sampled_from(sorted(SENDERS)))]
    decoder = open_decoder(sender.schema)
    longest = 2 * max(len(sender.send(99, [-32768] * 6)), 300 if "a" in sender.schema.format else 0)
    for noise in data.draw(st.lists(st.binary(max_size=400), max_size=10)):
        decoder.feed(noise)
        decoder.feed(noise * 20)
        assert decoder.waiting_bytes <= max(longest, 400)


def test_after_noise_the_next_whole_frame_is_delivered(sender: Sender) -> None:
    generator, decoder = np.random.default_rng(3), started(sender)
    frames = [sender.send(number, row) for number, row in enumerate(ROWS)]
    for number, frame in enumerate(frames[:-1]):
        broken = bytearray(frame)
        place = int(generator.integers(2, len(frame) - 3))
        broken[place] ^= 1 << int(generator.integers(8))
        if sender.schema.checksum or sender.schema.format in ("edgetl", "nmea"):
            rows = rows_of(decoder.feed(bytes(broken) + frames[number + 1]))
            assert rows[-1:] == [ROWS[number + 1]]
            # A hexadecimal digit whose case was flipped still says the same.
            assert rows[:-1] == [] or (broken.upper() == frame.upper() and rows[:-1] == [ROWS[number]])


def test_a_line_that_was_cut_does_not_join_the_next(sender: Sender) -> None:
    decoder = started(sender)
    one, other = sender.send(1, ROWS[0]), sender.send(2, ROWS[1])
    decoder.feed(one[: len(one) // 2])
    decoder.reset()
    assert decoder.waiting_bytes == 0
    readings = decoder.feed(other + sender.send(3, ROWS[2]))
    assert rows_of(readings)[-1] == ROWS[2]
    assert all(row in ROWS for row in rows_of(readings))


def test_an_edgetl_frame_survives_noise_on_the_idle_line() -> None:
    sender = SENDERS["edgetl"]
    decoder = open_decoder(sender.schema)
    for number, row in enumerate(ROWS):
        readings = decoder.feed(b"\xff\x13" + sender.send(number, row) + b"\x80")
        assert rows_of(readings) == [row]


def test_an_edgetl_frame_has_the_layout_that_is_written_down() -> None:
    frame = encode_frame(b"\x01\x00\x02", 0x1234, 0xDEADBEEF, stream=7)
    assert frame[0] == frame[-1] == 0 and 0 not in frame[1:-1]
    found = decode_frame(frame[1:-1])
    assert found == (7, 0x1234, 0xDEADBEEF, b"\x01\x00\x02")
    # Written out once by hand, so that the layout cannot change unseen.
    assert frame.hex() == "00" "09" "07" "3412" "efbeadde" "01" "06" "02" "eaeecd38" "00"


def test_other_streams_and_layouts_are_counted_and_not_taken() -> None:
    sender = SENDERS["edgetl"]
    decoder = open_decoder(sender.schema)
    assert decoder.feed(encode_frame(struct.pack("<6h", *ROWS[0]), 1, 1, stream=3)) == []
    assert decoder.feed(encode_frame(struct.pack("<5h", *ROWS[0][:5]), 1, 1)) == []
    assert decoder.feed(encode_frame(struct.pack("<6f", *ROWS[0]), 1, 1)) == []
    assert decoder.faults["other_stream"] == 1
    assert decoder.faults["layout"] + decoder.faults["too_long"] + decoder.faults["length"] == 2


def test_sketches_print_numbers_in_many_ways() -> None:
    schema = parse_schema({"format": "csv", "separator": " ", "field": [{"name": "a"}, {"name": "b"}]})
    decoder = open_decoder(schema)
    lines = b"rest of a line\n1 2\n a:1.5   b:-2.\r\n+.5 1e3\n\nnan -inf\n"
    rows = rows_of(decoder.feed(lines))
    assert rows[:3] == [[1, 2], [1.5, -2], [0.5, 1000]]
    assert np.isnan(rows[3][0]) and rows[3][1] == -np.inf
    for line in (b"1\n", b"1 2 3\n", b"1_0 2\n", b"0x1 2\n", b"b:1 a:2\n", b"\xff\xfe 2\n", b"1 --2\n", b"a b\n"):
        assert decoder.feed(line) == []
    assert decoder.faults == {"checksum": 0, "columns": 3, "text": 5, "too_long": 0}
    trailing = open_decoder(parse_schema({"format": "csv", "field": [{"name": "a"}, {"name": "b"}]}))
    assert rows_of(trailing.feed(b"\n1,2,\n")) == [[1, 2]]


def test_positions_are_read_in_degrees() -> None:
    names = [{"name": "time", "use": "skip"}, {"name": "status", "use": "skip"}]
    names += [{"name": "lat", "unit": "deg", "index": 3}, {"name": "lon", "unit": "deg", "index": 5}]  # type: ignore[dict-item]
    names += [{"name": "speed", "unit": "kn", "index": 7}]  # type: ignore[dict-item]
    decoder = open_decoder(parse_schema({"format": "nmea", "sentence": "RMC", "field": names}))
    # The examples of the standard and of a receiver's manual.
    known = b"\n$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"
    (reading,) = decoder.feed(known)
    assert reading.values == pytest.approx([48 + 7.038 / 60, 11 + 31 / 60, 22.4])
    (south,) = decoder.feed(b"$GNRMC,225446,A,4916.45,S,12311.12,W,000.5,054.7,191194,020.3,E*6B\r\n")
    assert south.values == pytest.approx([-(49 + 16.45 / 60), -(123 + 11.12 / 60), 0.5])
    assert decoder.feed(known.replace(b"4807", b"4907")) == []
    assert decoder.feed(b"$GPGGA,1*4B\r\n$GPRMC,,V,,,,,,,,,*31\r\n") == []
    assert decoder.faults["checksum"] >= 1


def test_scale_offset_and_skipped_fields_are_applied() -> None:
    table = {
        "format": "edgetl",
        "field": [
            {"name": "t", "type": "i16", "scale": 0.01, "offset": 20.0, "unit": "degC"},
            {"name": "status", "type": "u8", "use": "skip"},
            {"name": "p", "type": "u32", "scale": 0.25},
        ],
    }
    (reading,) = open_decoder(parse_schema(table)).feed(encode_frame(struct.pack("<hBI", -150, 9, 404_000), 1, 2))
    assert reading.values.tolist() == [18.5, 101_000.0]
    assert [channel.name for channel in parse_schema(table).channels] == ["t", "p"]


def test_a_packed_frame_is_found_inside_what_looks_like_one() -> None:
    sender = SENDERS["packed"]
    decoder = open_decoder(sender.schema)
    frame = sender.send(5, [0x5551] * 6)  # its data look like its beginning
    assert len(IMU) == 6
    assert rows_of(decoder.feed(frame[7:] + frame + b"\x55")) == [[0x5551] * 6]
    assert decoder.waiting_bytes == 1
