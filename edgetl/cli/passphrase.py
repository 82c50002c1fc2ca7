"""Asking a person for a passphrase, at a terminal only."""

from __future__ import annotations

import getpass
import sys

__all__ = ["ask", "ask_twice"]


def ask(prompt: str) -> str:
    """What the person types, unseen; empty when nobody is there to ask."""
    return getpass.getpass(prompt) if sys.stdin.isatty() else ""


def ask_twice(prompt: str) -> str:
    """The same, typed twice alike; empty when it was not."""
    first = ask(prompt)
    return first if first and ask("the same again: ") == first else ""
