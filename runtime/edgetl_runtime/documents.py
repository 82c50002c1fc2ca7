"""JSON that a stranger may have written: read whole or refused, and the same on every Python."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

__all__ = ["MAX_DEPTH", "parse_document"]

MAX_DEPTH = 32


def parse_document(data: bytes) -> Any:
    """The value of UTF-8 JSON without repeated keys, NaN, infinities, endless numbers or deep nesting.

    Raises ValueError or RecursionError. The caller limits the length.
    """
    document = json.loads(
        data.decode("utf-8"),
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=_short,
        object_pairs_hook=_no_duplicates,
    )
    _check_depth(document, MAX_DEPTH)
    return document


def _check_depth(value: Any, left: int) -> None:
    """Deep data is readable by some Pythons and not by others."""
    if left == 0:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, left - 1)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is beyond any float")
    return value


def _short(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"the number {text[:20]}... has {len(text)} digits")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _no_duplicates(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result
