"""Facts about the machine, by plain file reads under a settable root; no dependency."""

from __future__ import annotations

from edgetl_runtime.board.facts import BoardFacts, read_board
from edgetl_runtime.board.memory import peak_rss_bytes, rss_bytes
from edgetl_runtime.board.table import BOARDS, BoardRow

__all__ = ["BOARDS", "BoardFacts", "BoardRow", "peak_rss_bytes", "read_board", "rss_bytes"]
