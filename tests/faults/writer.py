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
        tell(life=life, n=0, act="", view=NOTHING)
        if life:  # only now: nobody looks at the earlier one any more
            shutil.rmtree(Path(folder) / str(life - 1))
        state = Path(folder) / str(life)
        for number, (act, session) in enumerate(_live(state, Path(bundles), random.Random(life)), 1):
            tell(life=life, n=number)
            tell(life=life, n=number, act=act, view=view(session, state))


def _live(state: Path, bundles: Path, draw: random.Random) -> Iterator[tuple[str, Any]]:
    """What was done, and the session after it."""
    policy = draw.choice(["immediate", "immediate", "guarded", "manual"])
    session = tiny.opened(state, bundles / tiny.FIRST, policy=policy)
    act = "install"
    for _ in range(OPERATIONS):
        yield act, session
        if draw.random() < 0.15:
            session.close()
            session = tiny.opened(state, policy=policy)
        act = _change(session, draw)
    yield act, session
    session.close()


def _change(session: Any, draw: random.Random) -> str:
    samples, generation = session.samples(), session.status()["generation"]
    start, choice = draw.randrange(40), draw.random()
    if samples and choice < 0.15:
        session.forget(draw.choice(samples).id)
        return "forget"
    if generation and choice < 0.25:
        session.rollback()
        return "rollback"
    if samples and choice < 0.35:
        session.review(accept=True)
        return "review"
    if choice < 0.6:
        teach(session, start, start + draw.randrange(2, 16), source=draw.choice(["left", "right"]))
    else:
        teach(session, start, start + 1)
    return "learn"


if __name__ == "__main__":
    main(sys.argv[1:])
