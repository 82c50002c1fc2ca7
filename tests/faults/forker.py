"""`python -m tests.faults.forker BUNDLES MUTANT`: for each line [script, root, acks] a child that plays it.

The child stops itself until somebody continues it. Each acknowledged step, each refusal and each wrong answer is a
line in the file of acknowledgements. A refused step must change no answer, and is tried once more.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import EdgetlError

from tests.faults import mutants
from tests.faults.scripts import SCRIPTS, Place, Script
from tests.faults.states import view

__all__ = ["main"]

TRIES = 2


def main(arguments: list[str]) -> None:
    bundles, mutant = Path(arguments[0]), arguments[1]
    logging.disable(logging.CRITICAL)
    if mutant:
        mutants.MUTANTS[mutant].apply()
    for name in SCRIPTS:  # whatever is imported late is imported now
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), bundles)
            SCRIPTS[name].prepare(place)
            _play(SCRIPTS[name], place, lambda **line: None)
    for line in sys.stdin:
        script, root, acks = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(SCRIPTS[script], Place(Path(root), bundles), acks)
        os.waitpid(child, os.WUNTRACED)  # until it stopped
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(script: Script, place: Place, acks: str) -> None:
    told = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(**line: Any) -> None:
        os.writev(told, [(json.dumps(line) + "\n").encode()])  # not `write`, which may be the call that fails

    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        _play(script, place, tell)
    except EdgetlError as error:
        tell(refused=type(error).__name__)
    except BaseException as error:
        tell(wrong=f"not a typed error: {type(error).__name__}: {error}")
    tell(end=True)
    os._exit(0)


def _play(script: Script, place: Place, tell: Callable[..., None]) -> None:
    number, session = 0, None
    if script.opens is not None:
        opens = script.opens
        session = _tried(lambda: opens(place), lambda: None, tell)
        number += 1

    def answers() -> Any:
        if session is None:
            return None
        found = session.predict_many(script.family.probes())
        return [(p.label, p.generation, p.probabilities, p.outlier) for p in found]

    try:
        if session is not None:
            tell(n=number)
            _tried(session.confirm, lambda: None, tell)  # else the first answer would, in a thread of its own
            tell(n=number, live=view(session, place.state, script.family)["live"])
        for step in script.steps:
            _tried(lambda step=step: step(session, place), answers, tell)  # type: ignore[misc]
            number += 1
            tell(n=number)
            if session is not None:
                tell(n=number, live=view(session, place.state, script.family)["live"])
    finally:
        if session is not None:
            session.close()


def _tried(act: Callable[[], Any], answers: Callable[[], Any], tell: Callable[..., None]) -> Any:
    before = answers()
    for attempt in range(TRIES):
        try:
            return act()
        except EdgetlError as error:
            if attempt == TRIES - 1:
                raise
            tell(refused=type(error).__name__, message=str(error)[:200])
            if answers() != before:
                tell(wrong="another answer after a change that was refused")
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
