"""What is said on stderr while something lasts: an engine that is built for minutes, a folder of thousands."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List

from edgetl_runtime.engines import BuildProgress

__all__ = ["print_build_progress", "shown_count"]

_QUIET_S = 5.0  # between two lines of the same phase
_COUNT_S = 1.0  # and between two counts


def print_build_progress() -> BuildProgress:
    """A progress that prints a line for every phase, and now and then while one lasts."""
    told: List[Any] = ["", -_QUIET_S]  # phase, seconds

    def tell(phase: str, seconds: float) -> None:
        if phase != told[0] or seconds - told[1] >= _QUIET_S:
            told[:] = [phase, seconds]
            print(f"building the engine: {phase}, {seconds:.0f} s", file=sys.stderr, flush=True)

    return tell


@contextmanager
def shown_count(words: str) -> Iterator[Callable[[int], None]]:
    """A function to tell how many are done: at a terminal the count is drawn, and gone in the end."""
    drawn = [time.monotonic()]

    def tell(done: int) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() and now - drawn[-1] >= _COUNT_S:
            drawn.append(now)
            # Back at the line's beginning, so that what is logged stands above.
            print(f"{done} {words}", end="\r", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if len(drawn) > 1:
            print("\x1b[K", end="", file=sys.stderr, flush=True)
