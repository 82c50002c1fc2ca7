"""Every operation on a state as a small script: what is there first, what is done, and how the outcome is looked at.

Opening is acknowledged when it returns, and so is each step: a cut after that may never lose it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
from edgetl_runtime.merging import merge_states
from edgetl_runtime.session import Session
from edgetl_runtime.trust import revoke_key, trust_key

from tests.faults import tiny
from tests.faults.states import NOTHING, View, litter, look
from tests.faults.tiny import TINY, Family
from tests.faults.tracing import REPO, python_path

__all__ = ["DAILY", "SCRIPTS", "Place", "Script", "teach"]

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Place:
    """Where a script is played: the root of all that it changes, and the folder of the tiny bundles."""

    root: Path
    bundles: Path

    @property
    def state(self) -> Path:
        return self.root / "state"


Step = Callable[[Any, Place], object]


@dataclass(frozen=True)
class Script:
    """One operation. `opens` gives the session that every step is done with; None where there is no session.

    `look` returns a view and the seconds of a start, and with True learns one more sample and sweeps; it raises where a
    device would not work. After a step of `judged` samples are durable before the guard moves the head: there a cut
    may leave the new samples with the old head. `ignore` names what a cut may change in a view without a loss.
    `nightly`: left to the nightly tier, which plays all of them at length.
    """

    prepare: Callable[[Place], object]
    opens: Callable[[Place], Session] | None
    steps: tuple[Step, ...]
    look: Callable[[Place, bool], tuple[View, float]]
    family: Family = TINY
    judged: bool = False
    ignore: tuple[str, ...] = ()
    nightly: bool = False


def teach(session: Session, start: int, stop: int, family: Family = TINY, **options: Any) -> list[int]:
    """Learn frames start..stop of the family in one transaction."""
    frames, labels = family.frames(64)
    return session.learn_many(frames[start:stop], labels[start:stop], **options)


# -- what is there first


def _nothing(place: Place) -> None:
    pass


def _learnt(policy: str = "guarded", batches: int = 4) -> Callable[[Place], None]:
    def prepare(place: Place) -> None:
        with tiny.opened(place.state, place.bundles / tiny.FIRST, policy=policy) as session:
            for i in range(batches):
                teach(session, 3 * i, 3 * i + 3, source=("left", "right")[i % 2])

    return prepare


def _killed(place: Place) -> None:
    """What a killed process leaves: all is in the journal."""
    with tempfile.TemporaryDirectory(dir=place.root) as elsewhere:
        state = Path(elsewhere) / "state"
        with tiny.opened(state, place.bundles / tiny.FIRST, policy="immediate") as session:
            for i in range(4):
                teach(session, i, i + 1)
            shutil.copytree(state, place.state)


def _damaged(place: Place) -> None:
    """A file whose check fails, though most of its rows are whole."""
    _learnt("immediate", 12)(place)
    path = place.state / "state.sqlite"
    whole = path.read_bytes()
    for page in reversed(range(1, len(whole) // PAGE_BYTES)):
        path.write_bytes(whole[: page * PAGE_BYTES] + bytes(PAGE_BYTES) + whole[(page + 1) * PAGE_BYTES :])
        connection = sqlite3.connect(path)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        connection.close()
        if found != "ok":
            return
    raise AssertionError("no page matters")


def _failing(place: Place) -> None:
    """Three starts that ended before a first answer."""
    _learnt("immediate", 2)(place)
    code = "import sys, os; from pathlib import Path; from tests.faults import tiny; tiny.opened(Path(sys.argv[1]));"
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", f"{code} os._exit(9)", str(place.state)],
            cwd=REPO, env={**os.environ, "PYTHONPATH": python_path()}, capture_output=True, check=False,
        )  # fmt: skip


def _failing_release(
    place: Place, prepare: Callable[[Place], None] | None = None, release: str = tiny.THIRD
) -> None:
    """A release with another head, three starts of which ended before a first answer."""
    (prepare or _learnt("immediate"))(place)
    code = "import sys, os; from pathlib import Path; from tests.faults import tiny;"
    for name in (release, None, None):
        bundle = "None" if name is None else f"Path({str(place.bundles / name)!r})"
        subprocess.run(
            [sys.executable, "-c", f"{code} tiny.opened(Path(sys.argv[1]), {bundle}); os._exit(9)", str(place.state)],
            cwd=REPO, env={**os.environ, "PYTHONPATH": python_path()}, capture_output=True, check=False,
        )  # fmt: skip


def _kept_raw(place: Place) -> None:
    """What was learnt, with the samples themselves."""
    with tiny.opened(place.state, place.bundles / tiny.FIRST, policy="immediate", keep_raw_bytes=1 << 20) as session:
        for i in range(4):
            teach(session, 3 * i, 3 * i + 3, source=("left", "right")[i % 2])


def _two_bundles(place: Place) -> None:
    """What was learnt with two extractors, of the same samples and of others."""
    _kept_raw(place)
    with tiny.opened(place.state, place.bundles / tiny.FOURTH, policy="immediate", keep_raw_bytes=1 << 20) as session:
        teach(session, 12, 15, source="right")


def _failing_bundle(place: Place) -> None:
    """A release with another extractor, three starts of which ended before a first answer."""
    _failing_release(place, _kept_raw, tiny.FOURTH)


def _schema_1(place: Place) -> None:
    """A state of the first release, with its bundle."""
    bundle = place.bundles / tiny.DIGITS.bundle
    kept = place.state / "bundles" / f"{rt.read_bundle(bundle).id}.edgetl"
    kept.parent.mkdir(parents=True)
    shutil.copy(bundle, kept)
    shutil.copy(REPO / "tests" / "golden" / "state-1.sqlite", place.state / "state.sqlite")


def _two_devices(place: Place) -> None:
    for number, name in enumerate("ab"):
        with tiny.opened(place.root / name, place.bundles / tiny.FIRST) as session:
            teach(session, number * 5, number * 5 + 5)


# -- how it is opened, and what is done


def _open(**options: Any) -> Callable[[Place], Session]:
    return lambda place: tiny.opened(place.state, **options)


def _install(name: str) -> Callable[[Place], Session]:
    return lambda place: tiny.opened(place.state, place.bundles / name)


def _narrow(place: Place) -> Session:
    """With a quota that the next samples exceed."""
    used = (place.state / "state.sqlite").stat().st_size
    return tiny.opened(place.state, policy="immediate", quota_bytes=used - PAGE_BYTES)


def _review(session: Session, place: Place) -> None:
    session.review(accept=True)


def _answer(session: Session, place: Place) -> None:
    session.predict(TINY.probes()[0])
    session.confirm()  # the prediction does so too, in a thread of its own


def _rollback(to: int | None) -> Step:
    return lambda session, place: session.rollback(to)


def _learn(start: int, stop: int, **options: Any) -> Step:
    return lambda session, place: teach(session, start, stop, **options)


def _forget(**which: Any) -> Step:
    return lambda session, place: session.forget(**which)


def _merge(session: None, place: Place) -> None:
    merge_states([place.root / "a", place.root / "b"], place.root / "out")


def _trust(number: int) -> Step:
    return lambda session, place: trust_key(place.state, (place.bundles / f"{number}.pub").read_bytes())


def _revoke(session: None, place: Place) -> None:
    revoke_key(place.state, "0123456789abcdef")


# -- how it is looked at


def _look_at_state(place: Place, onward: bool, family: Family = TINY) -> tuple[View, float]:
    found = look(place.state, place.bundles / family.bundle, family, learn=onward)
    if onward:
        _swept(place.state)
    return found.view, found.seconds


def _look_at_digits(place: Place, onward: bool) -> tuple[View, float]:
    return _look_at_state(place, onward, tiny.DIGITS)


def _look_at_merge(place: Place, onward: bool) -> tuple[View, float]:
    """The sources as they were, the new state whole or absent; and if absent, it can be made."""
    views = {name: look(place.root / name, place.bundles / tiny.FIRST).view for name in "ab"}
    out = place.root / "out"
    if not (out / "state.sqlite").exists():
        views["out"] = NOTHING
        _merge(None, place)
    made = look(out, place.bundles / tiny.FIRST, learn=onward)
    views.setdefault("out", made.view)
    if onward:  # a reader leaves SQLite's own two files beside the sources
        _swept(out)
    beside = sorted(path.name for path in place.root.iterdir() if path.name not in ("a", "b", "out"))
    if beside:
        raise AssertionError(f"litter: {beside}")
    return views, made.seconds


def _swept(state: Path) -> None:
    left = litter(state)
    if left:
        raise AssertionError(f"litter: {left}")


_ONE_BY_ONE = tuple(_learn(i, i + 1) for i in (20, 21, 22))
_BATCHES = (_learn(20, 36, source="batch"), _learn(36, 52, source="batch"))
_FORGET = (_forget(sample_id=2), _forget(source="right"), _forget(label="a"))

SCRIPTS: dict[str, Script] = {
    "install": Script(_nothing, _install(tiny.FIRST), (), _look_at_state),
    "install a release": Script(_learnt(), _install(tiny.SECOND), (), _look_at_state),
    "update the head": Script(
        _learnt("immediate"), _install(tiny.THIRD), (_answer, _learn(20, 23)), _look_at_state, judged=True,
        ignore=("recovered",),
    ),
    "go back from a release": Script(
        _failing_release, _open(), (_answer,), _look_at_state, ignore=("recovered",)
    ),
    "update the extractor": Script(
        _kept_raw, _install(tiny.FOURTH), (_answer, _learn(20, 23)), _look_at_state, judged=True, ignore=("recovered",)
    ),
    "switch back": Script(
        _two_bundles, _install(tiny.FIRST), (_answer, _learn(20, 23)), _look_at_state, judged=True,
        ignore=("recovered",), nightly=True,
    ),
    "go back from another extractor": Script(
        _failing_bundle, _open(), (_answer,), _look_at_state, ignore=("recovered",), nightly=True
    ),
    "forget in two states": Script(_two_bundles, _open(), _FORGET, _look_at_state, nightly=True),
    "learn": Script(_learnt(), _open(), _ONE_BY_ONE, _look_at_state, judged=True),
    "learn at once": Script(_learnt("immediate"), _open(policy="immediate"), _ONE_BY_ONE, _look_at_state, judged=True),
    "learn many": Script(_learnt("immediate", 0), _open(policy="immediate"), _BATCHES, _look_at_state, judged=True),
    "review": Script(
        _learnt("manual"), _open(policy="manual"), (_review, _learn(20, 23), _review), _look_at_state
    ),
    "roll back": Script(
        _learnt("immediate"), _open(), (_rollback(None), _rollback(0), _rollback(4)), _look_at_state
    ),
    "forget": Script(_learnt("immediate"), _open(), _FORGET, _look_at_state),
    "make room": Script(
        _learnt("immediate", 20), _narrow, _ONE_BY_ONE, _look_at_state, judged=True, ignore=("samples", "generations")
    ),
    "migrate": Script(
        _schema_1, _open(), (_learn(0, 1, family=tiny.DIGITS),), _look_at_digits, tiny.DIGITS, judged=True
    ),
    "merge": Script(_two_devices, None, (_merge,), _look_at_merge),
    "trust": Script(_learnt(), None, (_trust(1), _trust(2), _revoke), _look_at_state),
    "start after a kill": Script(_killed, _open(policy="immediate"), (_learn(30, 31),), _look_at_state, judged=True),
    "start on a damaged file": Script(
        _damaged, _open(), (_learn(50, 51),), _look_at_state, judged=True, ignore=("kept_aside",)
    ),
    "start after failed starts": Script(
        _failing, _open(), (_learn(30, 31),), _look_at_state, judged=True, ignore=("recovered",)
    ),
}

DAILY = [name for name, script in SCRIPTS.items() if not script.nightly]
