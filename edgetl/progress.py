"""How long work says where it is: a function is handed in, the library itself never prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Step", "silent"]


@dataclass(frozen=True)
class Step:
    """`done` of `total` units of a stage; `total` is None while it is not known. `note` is said beside it."""

    stage: str
    done: int
    total: int | None
    note: str = ""


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """The default: say nothing."""
