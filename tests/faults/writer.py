"""`python -m tests.faults.writer FOLDER BUNDLES [MUTANT]`: devices that live, one after another, until killed.

Each life is a state folder with a number. After every operation that returned, a line in $ACKS acknowledges it at
once, and another tells what the state answers then.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults import mutants, tiny
from tests.faults.scripts import teach
from tests.faults.states import NOTHING, view

__all__ = ["main"]

OPERATIONS = 24


def main(arguments: list[str]) -> None:
    folder, bundles, *mutant = arguments
    if mutant:
        mutants.MUTANTS[mutant[0]].apply()
    log = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(**line: Any) -> None:
        os.write(log, (json.dumps(line) + "\n").encode())

    for life in itertools.count():
        tell(life=life, n=0)
        tell(life=life, n=0, view={NOTHING: True})
        if life:  # only now: nobody looks at the earlier one any more
            shutil.rmtree(Path(folder) / str(life - 1))
        state = Path(folder) / str(life)
        for number, session in enumerate(_live(state, Path(bundles), random.Random(life)), 1):
            tell(life=life, n=number)
            tell(life=life, n=number, view=view(session, state))


def _live(state: Path, bundles: Path, draw: random.Random) -> Iterator[Any]:
    """The session after each operation."""
    session = tiny.opened(state, bundles / tiny.FIRST)
    for _ in range(OPERATIONS):
        yield session
        if draw.random() < 0.15:
            session.close()
            session = tiny.opened(state, draw.choice([None, bundles / tiny.FIRST]))
        _change(session, draw)
    yield session
    session.close()


def _change(session: Any, draw: random.Random) -> None:
    samples = session.samples()
    start = draw.randrange(40)
    if samples and draw.random() < 0.2:
        session.forget(draw.choice(samples).id)
    elif draw.random() < 0.3:
        teach(session, start, start + draw.randrange(2, 16), source=draw.choice(["left", "right"]))
    else:
        teach(session, start, start + 1)


if __name__ == "__main__":
    main(sys.argv[1:])
