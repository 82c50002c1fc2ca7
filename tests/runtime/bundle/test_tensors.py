"""Arrays in a bundle: what comes out is what went in, finite and of a sane size, or an error."""

from __future__ import annotations

import json
import struct
from typing import Any, Dict

import numpy as np
import pytest
from edgetl_runtime.bundle import pack_tensors, unpack_tensors
from edgetl_runtime.errors import BundleCorruptError
from hypothesis import given
from hypothesis import strategies as st

ARRAYS: Dict[str, Any] = {
    "f4": np.arange(6, dtype=np.float32).reshape(2, 3),
    "f8": np.array([1.5, -2.5]),
    "u1": np.zeros((0, 4), np.uint8),
    "i8": np.array([[-(2**63)], [2**63 - 1]]),
    "view": np.arange(12, dtype=np.float64).reshape(3, 4)[:, ::2],
}
GOOD = pack_tensors(ARRAYS, {"kind": "test"})


def test_arrays_come_back_bit_for_bit_with_their_metadata() -> None:
    tensors, metadata = unpack_tensors(GOOD, "x")
    assert metadata == {"kind": "test"}
    assert set(tensors) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert tensors[name].dtype == array.dtype
        assert np.array_equal(tensors[name], array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e31, -1e31])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_would_poison_every_later_decision_are_refused(value: float, dtype: Any) -> None:
    array = np.zeros((3, 3), dtype)
    array[1, 2] = value
    with pytest.raises(BundleCorruptError, match="'weights'"):
        unpack_tensors(pack_tensors({"weights": array}, {}), "head")


def _raw(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


META = {"__metadata__": {"edgetl": "{}"}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63),
        _raw(b"[" * 5000),
        _raw(b"null"),
        _raw({}),
        _raw({"__metadata__": {"edgetl": "[1]"}}),
        _raw({"__metadata__": {"edgetl": "{"}}),
        _raw({"__metadata__": {"edgetl": "[" * 5000}}),
        _raw({"__metadata__": {"other": "{}"}}),
        _raw({**META, "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        _raw({**META, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        _raw({**META, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 5),
        _raw({**META, "a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"\0" * 4),
        _raw({**META, "a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
        _raw({**META, "a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        _raw({**META, "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        _raw(
            {
                **META,
                "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]},
            },
            b"\0" * 6,
        ),
    ],
    ids=lambda value: repr(bytes(value)[8:40]),
)
def test_what_is_no_such_file_is_corrupt(data: bytes) -> None:
    with pytest.raises(BundleCorruptError, match="member"):
        unpack_tensors(data, "member")


def test_truncated_anywhere_it_is_corrupt() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(BundleCorruptError):
            unpack_tensors(GOOD[:length], "member")


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_changed_byte_escapes_as_another_error(place: int, mask: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= mask
    try:
        tensors, _ = unpack_tensors(bytes(data), "member")
    except BundleCorruptError:
        return
    for array in tensors.values():
        assert array.dtype.kind != "f" or np.isfinite(array).all()
