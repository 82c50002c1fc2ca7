"""Keys that stand for labels, heard without the enter key."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import Any, Dict, Iterator, List, Sequence

from edgetl_runtime.errors import SourceError

__all__ = ["Keys", "keys_of"]


class Keys:
    """The labels whose keys are pressed, while it is open; the terminal is put back as it was."""

    def __init__(self, labels: Sequence[str], handle: int = -1) -> None:
        self._labels = keys_of(labels)
        self._handle = handle if handle >= 0 else sys.stdin.fileno()
        if not os.isatty(self._handle):
            raise SourceError("--teach needs a terminal; labels on the standard input are for --labels")
        self._before: List[Any] = []
        self._open = False

    @property
    def help(self) -> str:
        """Which key is which label."""
        return "teach: " + "  ".join(f"[{key}] {label}" for key, label in self._labels.items())

    def __enter__(self) -> Keys:
        self._before = termios.tcgetattr(self._handle)
        tty.setcbreak(self._handle)
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        termios.tcsetattr(self._handle, termios.TCSADRAIN, self._before)

    def __iter__(self) -> Iterator[str]:
        while self._open:
            if not select.select([self._handle], [], [], 0.1)[0]:
                continue
            pressed = os.read(self._handle, 1).decode("latin-1").lower()
            if not pressed:
                return
            if pressed in self._labels:
                yield self._labels[pressed]


def keys_of(labels: Sequence[str]) -> Dict[str, str]:
    """A key for each label: the first of its letters that is free, else a digit; raises SourceError."""
    keys: Dict[str, str] = {}
    for label in (label.strip() for label in labels):
        if not label:
            continue
        free = [letter for letter in label.lower() + "1234567890" if letter.isalnum() and letter not in keys]
        if not free or label in keys.values():
            raise SourceError(f"no key is free for {label!r}, or it is named twice")
        keys[free[0]] = label
    if not keys:
        raise SourceError("--teach needs labels, like --teach cup,plate")
    return keys
