"""Numbers as they are typed behind an option, for argparse: finite, within their limits, or refused by name."""

from __future__ import annotations

import argparse
import math
import re
from typing import Callable

__all__ = ["MOST_WHOLE", "number", "whole"]

MOST_WHOLE = 2**63 - 1
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


def whole(least: int = 1, most: int = 10**9) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`; it raises argparse.ArgumentTypeError."""

    def parsed(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}; got {text[:40]!r}")
        return int(text)

    return parsed


def number(least: float = 0.0, most: float = 1e9, more: bool = False) -> Callable[[str], float]:
    """A parser of finite numbers from `least` (above it with `more`) to `most`; raises argparse.ArgumentTypeError."""

    def parsed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (more and value == least):
            first = f"above {least:g}" if more else f"of at least {least:g}"
            raise argparse.ArgumentTypeError(f"expected a number {first}, at most {most:g}; got {text[:40]!r}")
        return value

    return parsed
