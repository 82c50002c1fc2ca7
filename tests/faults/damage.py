"""Damage to the files of a state: flipped bits, lost pages, cut ends, files of another time or another device.

Every damaged state is started on. What it answers must be what it answered before, or be accompanied by a note: a
row in quarantine, a file kept aside, a start that says it recovered. Rows are intact or not by their own hash, so a
file that is whole but older cannot be told from the truth; then each answer must belong to a head that was live once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import EdgetlError

from tests.faults import mutants, tiny
from tests.faults.ground import Ground
from tests.faults.scripts import PAGE_BYTES, teach
from tests.faults.states import Look, look

__all__ = ["BASES", "KINDS", "Damage", "DamageOutcome", "harm"]

# A state that was closed, and one whose process was killed: there most of it is in the journal.
BASES = ("closed", "killed")
STORE = ("state.sqlite", "state.sqlite-wal")


@dataclass(frozen=True)
class Damage:
    """One case: what is done to which state, drawn by `number`."""

    kind: str
    base: str
    number: int


@dataclass
class DamageOutcome:
    """`cases` damaged states; `started` of them predicted and learnt on, `same` as ever, `noted` otherwise and said so.

    `older` answered as it did at an earlier time without a note, from a file that was whole and of that time.
    `silent` answered otherwise without a note; `forgot` answered the same and lost samples without a note;
    `refused` ended in a typed error; `violations` are all that the kind does not allow. `slowest_s` is the longest way
    from opening to a first answer.
    """

    cases: int = 0
    started: int = 0
    same: int = 0
    noted: int = 0
    older: int = 0
    silent: int = 0
    forgot: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


Files = dict[str, bytes]


def _flip(files: Files, draw: random.Random, bundle: bool = False) -> Files:
    """One bit of the store, or of the bundle, each as likely as any other."""
    names = [name for name in files if (name.endswith(".edgetl") if bundle else name in STORE)]
    at = draw.randrange(sum(len(files[name]) for name in names))
    for name in names:
        if at < len(files[name]):
            data = bytearray(files[name])
            data[at] ^= 1 << draw.randrange(8)
            return {**files, name: bytes(data)}
        at -= len(files[name])
    raise AssertionError


def _row(files: Files, draw: random.Random) -> Files:
    """One bit of the live head's bytes, where they are stored."""
    root = _HERE.home / f"row-{os.getpid()}"
    _write(files, root)
    with contextlib.closing(sqlite3.connect(root / "state.sqlite", isolation_level=None)) as connection:
        (number,) = connection.execute("SELECT active FROM pointer").fetchone()
        (head,) = connection.execute("SELECT head FROM generations WHERE number = ?", (number,)).fetchone()
        data = bytearray(head)
        start = 8 + int.from_bytes(data[:8], "little")  # behind the header of safetensors
        at = draw.randrange(start, len(data))
        data[at] ^= 1 << draw.randrange(8)
        connection.execute("UPDATE generations SET head = ? WHERE number = ?", (bytes(data), number))
    changed = _files(root)
    shutil.rmtree(root)
    return changed


def _cut(files: Files, draw: random.Random) -> Files:
    name = _one(files, draw)
    return {**files, name: files[name][: draw.randrange(len(files[name]))]}


def _page(files: Files, draw: random.Random, fill: Callable[[int], bytes]) -> Files:
    name = _one(files, draw)
    page = draw.randrange(-(-len(files[name]) // PAGE_BYTES))
    start, stop = page * PAGE_BYTES, min(len(files[name]), (page + 1) * PAGE_BYTES)
    return {**files, name: files[name][:start] + fill(stop - start) + files[name][stop:]}


def _two_pages_swapped(files: Files, draw: random.Random) -> Files:
    name = _one(files, draw)
    count = len(files[name]) // PAGE_BYTES
    one, other = (draw.randrange(count) for _ in range(2))
    pages = [files[name][i * PAGE_BYTES : (i + 1) * PAGE_BYTES] for i in range(count)]
    pages[one], pages[other] = pages[other], pages[one]
    return {**files, name: b"".join(pages) + files[name][count * PAGE_BYTES :]}


def _emptied(files: Files, draw: random.Random) -> Files:
    return {**files, "state.sqlite": draw.choice([b"", b"rubbish" * 100, bytes(8192)])}


def _missing(files: Files, draw: random.Random) -> Files:
    gone = draw.choice(["state.sqlite", "lock", "ballast"])
    return {name: data for name, data in files.items() if name != gone}


def _others(name: str) -> Callable[[Files, random.Random], Files]:
    """A file of the state as it was earlier, or of another device."""

    def act(files: Files, draw: random.Random) -> Files:
        other = _HERE.earlier[draw.randrange(len(_HERE.earlier))]
        return {**files, name: other[name]} if name in other else files

    return act


# Name -> (the damage, whether a file that is whole but of another time is among it).
KINDS: dict[str, tuple[Callable[[Files, random.Random], Files], bool]] = {
    "a bit of the store": (_flip, False),
    "a bit of the live head": (_row, False),
    "a bit of the bundle": (lambda files, draw: _flip(files, draw, bundle=True), False),
    "a cut end": (_cut, True),
    "a zeroed page": (lambda files, draw: _page(files, draw, bytes), True),
    "a garbage page": (lambda files, draw: _page(files, draw, draw.randbytes), True),
    "swapped pages": (_two_pages_swapped, True),
    "another content": (_emptied, False),
    "a missing file": (_missing, True),
    "an older state file": (_others("state.sqlite"), True),
    "an older journal": (_others("state.sqlite-wal"), True),
}


def harm(ground: Ground, plan: Sequence[Damage], mutant: str = "") -> dict[str, DamageOutcome]:
    """Start on every damaged state of the plan; outcomes by kind."""
    outcomes: dict[str, DamageOutcome] = {}
    context = multiprocessing.get_context("forkserver")
    home = ground.work / "damage"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with concurrent.futures.ProcessPoolExecutor(
        ground.processes, context, _prepare, (ground.bundles, home, mutant)
    ) as pool:
        pool.submit(_build).result()
        chunks = [plan[i : i + 50] for i in range(0, len(plan), 50)]
        for found in pool.map(_judge, chunks):
            for damage, (verdict, what), seconds in found:
                outcome = outcomes.setdefault(damage.kind, DamageOutcome())
                outcome.slowest_s = max(outcome.slowest_s, seconds)
                _count(outcome, damage, verdict, what)
    return outcomes


def _count(outcome: DamageOutcome, damage: Damage, verdict: str, what: str) -> None:
    outcome.cases += 1
    outcome.started += verdict not in ("refused", "broken")
    outcome.same += verdict == "same"
    outcome.noted += verdict == "noted"
    outcome.older += verdict == "older"
    outcome.silent += verdict == "silent"
    outcome.forgot += verdict == "forgot"
    if verdict == "refused":
        outcome.refused[what.partition(":")[0]] += 1
    # A bundle that does not match its hashes is refused: there is nothing else that could serve.
    if verdict in ("silent", "forgot", "broken") or (verdict == "refused" and damage.kind != "a bit of the bundle"):
        outcome.violations.append(f"{damage}: {verdict}: {what[:400]}")


@dataclass
class _Here:
    """What one process of the pool knows."""

    bundles: Path = Path()
    home: Path = Path()
    bases: dict[str, Files] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)
    earlier: list[Files] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)


_HERE = _Here()


def _prepare(bundles: Path, home: Path, mutant: str) -> None:
    _HERE.bundles, _HERE.home = bundles, home
    if mutant:
        mutants.MUTANTS[mutant].apply()


def _build() -> None:
    """States of two devices that learnt, with what they answered after each step."""
    answers = []
    earlier = 0
    for seed, device in enumerate(("mine", "another")):
        state = _HERE.home / "live" / device
        with tiny.opened(state, _HERE.bundles / tiny.FIRST, policy="immediate") as session:
            for i in range(14):
                teach(session, 3 * i + seed, 3 * i + 3 + seed)
                answers.append(_answers(session))
                if i in (4, 9, 13):
                    shutil.copytree(state, _HERE.home / "earlier" / str(earlier))
                    earlier += 1
                if i == 9 and device == "mine":
                    session.rollback()
                    answers.append(_answers(session))
            if device == "mine":
                shutil.copytree(state, _HERE.home / "killed")
    with tiny.opened(_HERE.home / "live" / "fresh", _HERE.bundles / tiny.FIRST) as session:
        answers.append(_answers(session))
    shutil.copytree(_HERE.home / "live" / "mine", _HERE.home / "closed")
    (_HERE.home / "answers").write_text(json.dumps(answers))


def _answers(session: Any) -> Any:
    """Labels and rounded probabilities; numbers of generations are no part of an answer here."""
    found = session.predict_many(tiny.probes())
    return [[p.label, {k: round(v, 6) for k, v in sorted(p.probabilities.items())}] for p in found]


def _load() -> None:
    for base in BASES:
        _HERE.bases[base] = _files(_HERE.home / base)
        root = _HERE.home / f"view-{os.getpid()}"
        _write(_HERE.bases[base], root)
        _HERE.looks[base] = look(root, _HERE.bundles / tiny.FIRST)
        shutil.rmtree(root)
    _HERE.earlier = [_files(path) for path in sorted((_HERE.home / "earlier").iterdir())]
    _HERE.answers = json.loads((_HERE.home / "answers").read_text())


def _judge(plan: Sequence[Damage]) -> list[tuple[Damage, tuple[str, str], float]]:
    if not _HERE.bases:
        _load()
    return [(damage, *_judged(damage)) for damage in plan]


def _judged(damage: Damage) -> tuple[tuple[str, str], float]:
    act, whole_files = KINDS[damage.kind]
    files = act(_HERE.bases[damage.base], random.Random(f"{damage.kind} {damage.base} {damage.number}"))
    root = _HERE.home / f"judge-{os.getpid()}"
    _write(files, root)
    try:
        seen = look(root, _HERE.bundles / tiny.FIRST, learn=True)
    except EdgetlError as error:
        return ("refused", f"{type(error).__name__}: {error}"), 0.0
    except Exception as error:
        return ("broken", f"{type(error).__name__}: {error}"), 0.0
    finally:
        shutil.rmtree(root)
    return _compared(seen, _HERE.looks[damage.base], whole_files), seen.seconds


def _compared(look: Look, was: Look, whole_files: bool) -> tuple[str, str]:
    seen, before = look.view, was.view
    if "live" not in seen:
        return "silent", f"as if nothing had been installed: {seen}"
    same = seen["live"]["answers"] == before["live"]["answers"]
    if same and seen["learnt"] == before["learnt"]:
        return "same", ""
    if seen["notes"] != before["notes"] or look.troubles > was.troubles:
        return "noted", ""
    answers = [[label, {k: round(v, 6) for k, v in ps.items()}] for label, _, ps, _ in seen["live"]["answers"]]
    if whole_files and any(_close(answers, known) for known in _HERE.answers):
        return "older", ""
    return "forgot" if same else "silent", json.dumps(seen)


def _close(one: Any, other: Any) -> bool:
    return all(
        a[0] == b[0] and a[1].keys() == b[1].keys() and all(abs(a[1][k] - b[1][k]) < 2e-6 for k in a[1])
        for a, b in zip(one, other, strict=True)
    )


def _one(files: Files, draw: random.Random) -> str:
    return draw.choice([name for name in STORE if files.get(name)])


def _files(state: Path) -> Files:
    return dict(_found(state))


def _found(state: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(state.rglob("*")):
        if path.is_file() and not path.name.endswith("-shm"):
            yield path.relative_to(state).as_posix(), path.read_bytes()


def _write(files: Files, root: Path) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
