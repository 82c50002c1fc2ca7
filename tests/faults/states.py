"""What a state folder answers: opened by the real opening code, asked, taught once more, closed, and swept."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import StateError
from edgetl_runtime.store import active_space, space_folder
from edgetl_runtime.trust import read_trust

from tests.faults import tiny
from tests.faults.tiny import TINY, Family

__all__ = ["NOTHING", "Look", "View", "litter", "look", "view"]

# What must survive, in parts: "learnt" (samples), "live" (the head that answers), "notes" and "device".
View = dict[str, Any]
NOTHING: View = {"nothing": True}  # no bundle is installed there

_KEPT = re.compile(
    r"(spaces/\d/)?(state\.sqlite(\.corrupt-\d)?|lock|ballast)|active|bundles/[0-9a-f]{64}\.edgetl"
    r"|trusted/[0-9a-f]{16}\.(pub|recovery|revoked)|engines/.*"
)
_TROUBLES = ("state_corrupt", "recovered", "journal", "state_missing")


@dataclass(frozen=True)
class Look:
    """A view, how long the device took from opening to its first answer, and how many troubles it tells of.

    `troubles` are entries of the history and rows in quarantine: what a person is shown of damage.
    """

    view: View
    seconds: float
    troubles: int


def view(session: Any, state: Path, family: Family = TINY) -> View:
    """All of a state that must survive."""
    status = session.status()
    answers = []
    for prediction in session.predict_many(family.probes()):
        numbers = {label: float(f"{p:.9g}") for label, p in sorted(prediction.probabilities.items())}
        answers.append([prediction.label, prediction.generation, numbers, float(f"{prediction.outlier:.9g}")])
    trust = read_trust(state)
    return {
        "learnt": {
            "samples": [[s.id, s.label, s.source, s.generation, s.role] for s in session.samples()],
            "held": status["guard_samples"],
            "classes": {label: counts["learnt"] for label, counts in status["classes"].items()},
        },
        "live": {
            "answers": answers,
            "generation": status["generation"],
            "generations": status["generations"],
            "recovered": status["recovered"],
        },
        "notes": {"quarantined": status["quarantined"], "kept_aside": status["kept_aside"]},
        "device": {"bundle": status["bundle"]["id"], "keys": sorted(trust.keys), "revoked": sorted(trust.revoked)},
    }


def look(state: Path, bundle: Path, family: Family = TINY, *, learn: bool = False) -> Look:
    """Open what is installed and take a view; where nothing is, install `bundle` as its user would do again.

    With `learn` one more sample is learnt after the view, as a proof that the device goes on.
    """
    started = time.perf_counter()
    installed = True
    quiet = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        try:
            session = tiny.opened(state)
        except StateError as error:
            if "no state folder" not in str(error) and "no bundle is installed" not in str(error):
                raise
            installed = False
            session = tiny.opened(state, bundle)
        with session:
            session.confirm()  # else the first answer would, in a thread of its own
            session.predict(family.probes()[0])
            seconds = time.perf_counter() - started
            found = view(session, state, family)
            if learn:
                frames, labels = family.frames(1)
                number = session.learn(frames[0], labels[0])
                if any(number <= sample[0] for sample in found["learnt"]["samples"]):
                    raise AssertionError(f"the id {number} was given twice")
            troubles = sum(entry.kind in _TROUBLES for entry in session.history(50))
            troubles += session.status()["quarantined"]
        if not installed:
            if found["learnt"]["samples"] or found["notes"] != {"quarantined": 0, "kept_aside": []}:
                raise AssertionError(f"nothing was installed, and yet: {found}")
            found = NOTHING
        return Look(found, seconds, troubles)
    finally:
        logging.disable(quiet)


def litter(state: Path) -> list[str]:
    """Files in a closed state that belong to nothing. One that is not in use was not opened, so its journal stays."""
    files = [path for path in state.rglob("*") if path.is_file()]
    used = space_folder(state, active_space(state))  # which may look into a state, and SQLite leaves files for that
    aside = {path for path in files if path.parent != used and re.fullmatch(r"state\.sqlite-\w+", path.name)}
    names = [path.relative_to(state).as_posix() for path in files if path not in aside]
    return sorted(name for name in names if not _KEPT.fullmatch(name))
