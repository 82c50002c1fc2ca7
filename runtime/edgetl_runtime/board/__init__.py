"""Facts about the machine, by plain file reads under a settable root; no dependency."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgetl_runtime.board.memory import peak_rss_bytes, rss_bytes

if TYPE_CHECKING:
    from edgetl_runtime.board.facts import BoardFacts, Machine, read_board, read_machine
    from edgetl_runtime.board.table import BOARDS, BoardRow

__all__ = [
    "BOARDS",
    "BoardFacts",
    "BoardRow",
    "Machine",
    "peak_rss_bytes",
    "read_board",
    "read_machine",
    "rss_bytes",
]

# What is asked for every second is loaded at once, the rest when somebody wants it.
_HOMES = {
    "BOARDS": "table",
    "BoardFacts": "facts",
    "BoardRow": "table",
    "Machine": "facts",
    "read_board": "facts",
    "read_machine": "facts",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl_runtime.board' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgetl_runtime.board.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
