"""Facts about the machine, by plain file reads under a settable root; no dependency."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgetl_runtime.board.memory import peak_rss_bytes, rss_bytes

if TYPE_CHECKING:
    from edgetl_runtime.board.facts import BoardFacts, read_board
    from edgetl_runtime.board.table import BOARDS, BoardRow

__all__ = ["BOARDS", "BoardFacts", "BoardRow", "peak_rss_bytes", "read_board", "rss_bytes"]

# A session asks for its memory only; what the doctor reads is loaded when it is asked for.
_HOMES = {"BOARDS": "table", "BoardFacts": "facts", "BoardRow": "table", "read_board": "facts"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl_runtime.board' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgetl_runtime.board.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
