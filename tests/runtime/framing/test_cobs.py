"""COBS: no zero is left, everything comes back, and what it never makes is refused."""

from __future__ import annotations

import pytest
from edgetl_runtime.framing import cobs_decode, cobs_encode
from hypothesis import given
from hypothesis import strategies as st

# Bytes in which zeros and runs are as frequent as in real payloads.
PAYLOADS = st.one_of(
    st.binary(max_size=600),
    st.lists(st.sampled_from([b"\0", b"\x01", b"\xff" * 253, b"\xff" * 254]), max_size=8).map(b"".join),
)

# Cheshire and Baker's own and the usual examples: data, encoded.
EXAMPLES = [
    (b"", b"\x01"),
    (b"\x00", b"\x01\x01"),
    (b"\x00\x00", b"\x01\x01\x01"),
    (b"\x11\x22\x00\x33", b"\x03\x11\x22\x02\x33"),
    (b"\x11\x22\x33\x44", b"\x05\x11\x22\x33\x44"),
    (b"\x11\x00\x00\x00", b"\x02\x11\x01\x01\x01"),
    (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255)) + b"\x01"),
    (bytes(range(255)), b"\x01\xff" + bytes(range(1, 255)) + b"\x01"),
    (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
]


@pytest.mark.parametrize(("data", "encoded"), EXAMPLES)
def test_it_is_the_published_encoding(data: bytes, encoded: bytes) -> None:
    assert cobs_encode(data) == encoded
    assert cobs_decode(encoded) == data


@given(PAYLOADS)
def test_everything_comes_back_and_no_zero_is_sent(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(encoded) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        decoded = cobs_decode(data)
    except ValueError:
        return
    assert len(decoded) <= len(data)


@pytest.mark.parametrize("encoded", [b"\x00", b"\x05\x11", b"\x02\x11\x00", b"\xff"])
def test_what_it_never_makes_is_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="no COBS"):
        cobs_decode(encoded)
