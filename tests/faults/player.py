"""`python -m tests.faults.player`: plays a script in a process of its own, which may be traced, starved or killed.

play SCRIPT ROOT BUNDLES [MUTANT]   each acknowledged step is a line in $ACKS
start SCRIPT BUNDLES ROOT...        a start on each root, each followed by a line in $ACKS
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults import mutants
from tests.faults.scripts import SCRIPTS, Place, Script

__all__ = ["main", "play"]


def main(arguments: list[str]) -> None:
    acks = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    action, *rest = arguments
    if action == "play":
        name, root, bundles, *mutant = rest
        if mutant:
            mutants.MUTANTS[mutant[0]].apply()
        for number in play(SCRIPTS[name], Place(Path(root), Path(bundles))):
            os.write(acks, f"{number}\n".encode())
    elif action == "start":
        name, bundles, *roots = rest
        for root in roots:
            SCRIPTS[name].look(Place(Path(root), Path(bundles)), False)
            os.write(acks, f"{root}\n".encode())
    else:
        raise SystemExit(__doc__)


def play(script: Script, place: Place) -> Iterator[int]:
    """Do what the script says; a number after each step that was acknowledged, opening included."""
    number = 0
    with contextlib.ExitStack() as stack:
        session = None
        if script.opens is not None:
            session = stack.enter_context(script.opens(place))
            number += 1
            yield number
        for step in script.steps:
            step(session, place)
            number += 1
            yield number


if __name__ == "__main__":
    main(sys.argv[1:])
