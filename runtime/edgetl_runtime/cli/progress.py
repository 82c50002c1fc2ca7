"""Lines on stderr while an engine is built for minutes."""

from __future__ import annotations

import sys
from typing import Any, List

from edgetl_runtime.engines import BuildProgress

__all__ = ["print_build_progress"]

_QUIET_S = 5.0  # between two lines of the same phase


def print_build_progress() -> BuildProgress:
    """A progress that prints a line for every phase, and now and then while one lasts."""
    told: List[Any] = ["", -_QUIET_S]  # phase, seconds

    def tell(phase: str, seconds: float) -> None:
        if phase != told[0] or seconds - told[1] >= _QUIET_S:
            told[:] = [phase, seconds]
            print(f"building the engine: {phase}, {seconds:.0f} s", file=sys.stderr, flush=True)

    return tell
