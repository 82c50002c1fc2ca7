"""A graph that could read files, run for ever or fill the memory is refused before any engine sees it."""

from __future__ import annotations

from typing import Any

import pytest
from edgetl_runtime.engines.graph import MAX_ELEMENTS, OPERATORS, check_graph
from edgetl_runtime.errors import EngineError
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden

GRAPH = golden.bundle().members["extractor.onnx"]


def field(number: int, value: Any) -> bytes:
    """One field on the wire: a number as varint, bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + bytes(value)


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tensor(name: bytes, sides: list[int], kind: int = 1, more: bytes = b"") -> bytes:
    return b"".join(field(1, side) for side in sides) + field(2, kind) + field(8, name) + more


def node(operator: bytes, inputs: tuple[bytes, ...] = (), more: bytes = b"") -> bytes:
    return b"".join(field(1, name) for name in inputs) + field(2, b"y") + field(4, operator) + more


def model(*nodes: bytes, constants: tuple[bytes, ...] = (), more: bytes = b"") -> bytes:
    body = b"".join(field(1, n) for n in nodes) + b"".join(field(5, c) for c in constants)
    return field(1, 8) + field(7, body) + more


def shape(*sides: int) -> bytes:
    return tensor(b"shape", [len(sides)], 7, field(9, b"".join(s.to_bytes(8, "little", signed=True) for s in sides)))


PLAIN = model(node(b"Relu", (b"x",)), constants=(tensor(b"w", [2, 3]), shape(1, 3, 224, 224)))
EXTERNAL = field(13, field(1, b"location") + field(2, b"/etc/passwd"))
OUTSIDE = tensor(b"w", [2], more=EXTERNAL)

ATTACKS = {
    "an endless loop": model(node(b"Loop", (b"n", b"c"))),
    "a branch": model(node(b"If", (b"c",))),
    "a scan": model(node(b"Scan", (b"x",))),
    "an engine plan named by path": model(node(b"EPContext", more=field(7, b"com.microsoft"))),
    "a custom operator": model(node(b"Relu", (b"x",), field(7, b"evil.domain"))),
    "an operator that nobody knows": model(node(b"Frobnicate", (b"x",))),
    "another operator name in a second field": model(node(b"Relu", (b"x",), field(4, b"Loop"))),
    "a graph in an attribute": model(node(b"Relu", (b"x",), field(5, field(1, b"body") + field(6, b"")))),
    "graphs in an attribute": model(node(b"Relu", (b"x",), field(5, field(1, b"body") + field(11, b"")))),
    "external data": model(constants=(tensor(b"w", [2], more=EXTERNAL + field(14, 1)),)),
    "external data without saying so": model(constants=(OUTSIDE,)),
    "external data in an attribute": model(node(b"Constant", more=field(5, field(5, OUTSIDE)))),
    "external data in a list": model(node(b"Constant", more=field(5, field(10, OUTSIDE)))),
    "data_location with a long number": model(constants=(tensor(b"w", [2], more=b"\x70\x81\x80\x00"),)),
    "a sparse constant": field(7, field(15, b"")),
    "a sparse constant in an attribute": model(node(b"Constant", more=field(5, field(22, b"")))),
    "a function": model(more=field(25, field(1, b"f"))),
    "a training step": model(more=field(20, b"")),
    "two graphs": PLAIN + field(7, b""),
    "a shape bomb": model(node(b"ConstantOfShape", (b"shape",)), constants=(shape(1 << 20, 1 << 20),)),
    "a shape bomb by overflow": model(node(b"Expand", (b"x", b"shape")), constants=(shape(*[1 << 62] * 8),)),
    "a shape bomb with negative sides": model(node(b"Tile", (b"x", b"shape")), constants=(shape(-(1 << 40)),)),
    "a constant of 2**80 elements": model(constants=(tensor(b"w", [1 << 40, 1 << 40]),)),
    "a constant of negative size": model(constants=(tensor(b"w", [-1]),)),
    "a field longer than its message": b"\x3a\xff\x7f",
    "an endless number": b"\xff" * 20,
    "a group": b"\x3b\x3c",
    "nothing": b"",
    "text": b"#!/bin/sh\nreboot\n",
}  # fmt: skip


def test_plain_graphs_pass() -> None:
    check_graph(PLAIN)
    check_graph(GRAPH)


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_an_attack_is_refused(attack: str) -> None:
    with pytest.raises(EngineError):
        check_graph(ATTACKS[attack])


def test_a_bomb_inside_a_constant_node_is_seen() -> None:
    inner = node(b"Constant", more=field(5, field(1, b"value") + field(5, shape(MAX_ELEMENTS + 1))))
    inner = inner.replace(field(2, b"y"), field(2, b"s"))
    with pytest.raises(EngineError, match="ConstantOfShape"):
        check_graph(model(inner, node(b"ConstantOfShape", (b"s",))))


def test_no_operator_that_branches_loops_or_reads_is_on_the_list() -> None:
    assert not OPERATORS & {"If", "Loop", "Scan", "SequenceMap", "EPContext", "ImageDecoder", "RandomNormal"}
    assert {"Conv", "Gemm", "QuantizeLinear", "LayerNormalization"} <= OPERATORS


@given(st.data())
def test_damage_is_refused_or_harmless_and_never_something_else(data: st.DataObject) -> None:
    changed = bytearray(GRAPH)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(GRAPH) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(GRAPH)))
    for graph in (bytes(changed), GRAPH[:cut]):
        try:
            check_graph(graph)
        except EngineError as error:
            assert str(error)  # nothing but this error may come out


@given(st.binary(max_size=300))
def test_rubbish_gives_this_error_only(rubbish: bytes) -> None:
    try:
        check_graph(rubbish)
    except EngineError as error:
        assert str(error)
