"""Which variant of a bundle serves in which engine on this board, and its replacement while it serves."""

from __future__ import annotations

from edgetl_runtime.serving.choosing import Serving, choose
from edgetl_runtime.serving.golden import GoldenResult, check_golden, run_golden
from edgetl_runtime.serving.ways import Way, list_ways

__all__ = ["GoldenResult", "Serving", "Way", "check_golden", "choose", "list_ways", "run_golden"]
