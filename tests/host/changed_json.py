"""A document with one value at a time made another: what a damaged or a hostile file says."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

__all__ = ["changed"]

_VALUES = (None, 5, -1, 1e308, "x", [], {}, [[]], True, float("nan"), 10**400)


def changed(document: Any) -> Iterator[Any]:
    """Every value of the document in turn, and the whole, by each of a few others, or left out."""
    yield from _VALUES
    for path in list(_paths(document)):
        for value in (*_VALUES, ...):
            other = copy.deepcopy(document)
            parent = other
            for step in path[:-1]:
                parent = parent[step]
            if value is ...:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            yield other


def _paths(node: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, value in inside:
        yield (*before, step)
        yield from _paths(value, (*before, step))
