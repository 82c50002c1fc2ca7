"""Crash-state simulation: record a script, enumerate what a power cut may leave, and start on every distinct state."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import multiprocessing
import os
import re
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.faults.disk import Cut, Disk, put
from tests.faults.ground import Ground
from tests.faults.scripts import SCRIPTS, Place
from tests.faults.states import View
from tests.faults.tracing import ACKNOWLEDGED, Recording, contents, record

__all__ = ["Outcome", "Reference", "recorded", "reference", "seen_at", "simulate", "text_of"]


_MOST_DRAWS = 4096
_SLOW_S, _TRIES = 0.5, 3  # a start that was slow is made again: a busy machine is not slow each time


@dataclass
class Outcome:
    """Counts of one script. `enumerated` counts every cut that was drawn, `distinct` different disk contents,
    each of which was started on, the slowest in `slowest_s`; `points` the crash points. `restarts` and
    `restarts_distinct` are cuts during a start.
    """

    script: str
    points: int = 0
    enumerated: int = 0
    distinct: int = 0
    violations: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    restarts: int = 0
    restarts_distinct: int = 0


@dataclass
class _Case:
    cut: Cut
    lowest: int  # the fewest steps that this state may show, and the most
    highest: int
    cuts: int = 0  # how many draws ended in this state


def simulate(
    name: str, ground: Ground, *, draws: int, restarts: int = 0, restart_draws: int = 4, mutant: str = "",
    least: int = 0, most: int = 0, onward: int = 1,
) -> Outcome:  # fmt: skip
    """All crash states of one script with `draws` outcomes for each crash point and prefix of the changes of names.

    `restarts` of the distinct states are started on under strace, and the cuts during these starts are judged too.
    `most` stops after so many distinct states (0: never); a mutant is caught long before. `least` raises the draws
    until so many distinct states came, or no more come. Each `onward`-th state is taught one sample more.
    """
    outcome = Outcome(name)
    recording = recorded(name, ground, mutant)
    disk = Disk(recording)
    views = reference(name, ground, disk)
    cases = _cases(disk, draws, outcome)
    while len(cases) < least and draws < _MOST_DRAWS:
        before, draws = len(cases), max(draws + 1, -(-draws * least // len(cases)))
        cases = _cases(disk, draws, outcome)
        if len(cases) == before:
            break
    if most and len(cases) > most:
        step = len(cases) / most
        cases = [cases[int(i * step)] for i in range(most)]
        outcome.enumerated = sum(case.cuts for case in cases)
    outcome.distinct = len(cases)
    found = list(_judged(name, ground, recording, [case.cut for case in cases], onward))
    _compare(outcome, cases, found, views)
    if restarts:
        step = max(1, len(cases) // restarts)
        _restarted(name, ground, disk, cases[::step][:restarts], views, (restart_draws, onward), outcome)
    return outcome


def recorded(name: str, ground: Ground, mutant: str = "") -> Recording:
    """The system calls of one script; and a check that nothing of what it did is missing in the record."""
    root = _fresh(ground, "root")
    SCRIPTS[name].prepare(Place(root, ground.bundles))
    arguments = ["tests.faults.player", "play", name, str(root), str(ground.bundles), *([mutant] if mutant else [])]
    recording = record(arguments, root, ground.work)
    files, folders = contents(root)
    files = {path: data for path, data in files.items() if not path.endswith("-shm")}
    disk = Disk(recording)
    whole = disk.whole(len(recording.ops))
    if (files, folders) != whole:
        differing = [path for path in {*files, *whole[0]} if files.get(path) != whole[0].get(path)]
        raise AssertionError(f"the record of {name!r} differs from the folder in {differing} {folders ^ whole[1]}")
    return recording


@dataclass(frozen=True)
class Reference:
    """What is seen after 0, 1, 2... acknowledged steps when nothing is cut; and `halfway` to the next, where samples
    are durable and the head has not been moved yet."""

    views: tuple[str, ...]
    halfway: tuple[str, ...]

    def allowed(self, lowest: int, highest: int) -> set[str]:
        """What may be seen when so many steps are certain, and so many may have been done."""
        return {*self.views[lowest : highest + 1], *self.halfway[lowest:highest]}


def reference(name: str, ground: Ground, disk: Disk) -> Reference:
    """The views at the acknowledgements of a recording, from what the page cache held then."""
    views: list[View] = []
    for point in (-1, *disk.acknowledgements()):
        root = _fresh(ground, "reference")
        shutil.rmtree(root)
        put(disk.whole(point), root)
        views.append(SCRIPTS[name].look(Place(root, ground.bundles), True)[0])
    halfway = []
    if SCRIPTS[name].judged:
        halfway = [text_of(name, {**one, "learnt": next_["learnt"]}) for one, next_ in itertools.pairwise(views)]
    return Reference(tuple(text_of(name, one) for one in views), tuple(halfway))


def _cases(disk: Disk, draws: int, outcome: Outcome) -> list[_Case]:
    distinct: dict[bytes, _Case] = {}
    steps = len(disk.acknowledgements())
    outcome.points, outcome.enumerated = len(disk.points()), 0
    for cut in disk.cuts(draws):
        outcome.enumerated += 1
        lowest = disk.acknowledged(cut.point)
        highest = min(lowest + 1, steps)
        case = distinct.setdefault(disk.key(cut), _Case(cut, lowest, highest))
        case.lowest, case.highest = max(case.lowest, lowest), min(case.highest, highest)
        case.cuts += 1
    return list(distinct.values())


def _compare(outcome: Outcome, cases: Sequence[_Case], found: Sequence[tuple[str, float]], views: Reference) -> None:
    for case, (seen, seconds) in zip(cases, found, strict=True):
        outcome.slowest_s = max(outcome.slowest_s, seconds)
        if seen not in views.allowed(case.lowest, case.highest):
            kind = _kind(seen, case, views.views)
            outcome.kinds[kind] += 1
            outcome.violations.append(f"{outcome.script}: {case.cut}: {kind}: {seen[:600]}")


def _kind(seen: str, case: _Case, views: tuple[str, ...]) -> str:
    if seen.startswith("ERROR "):
        return re.sub(r"\S*/judge-\d+/", "", seen.split("\n")[0])[:120]
    if seen in views:
        return "an acknowledged step is lost" if views.index(seen) < case.lowest else "a step that was never begun"
    return "a mixed state"


def _restarted(
    name: str, ground: Ground, disk: Disk, cases: list[_Case], views: Reference, size: tuple[int, int],
    outcome: Outcome,
) -> None:  # fmt: skip
    """Depth 2: each state is started on by the real code under strace, and that start is cut as well."""
    base = _fresh(ground, "restarts")
    roots = []
    for number, case in enumerate(cases):
        root = base / str(number)
        put(disk.state(case.cut), root)
        roots.append((root, case))
    arguments = ["tests.faults.player", "start", name, str(ground.bundles), *(str(root) for root, _ in roots)]
    whole = record(arguments, base, ground.work)
    draws, onward = size
    for root, case in roots:
        recording = _part(whole, root.name)
        inner = Disk(recording)
        counts = Outcome(name)
        inner_cases = [_Case(c.cut, case.lowest, case.highest) for c in _cases(inner, draws, counts)]
        outcome.restarts += counts.enumerated
        outcome.restarts_distinct += len(inner_cases)
        found = list(_judged(name, ground, recording, [c.cut for c in inner_cases], onward))
        _compare(outcome, inner_cases, found, views)


def _part(whole: Recording, name: str) -> Recording:
    """What was done below one folder."""

    def inside(path: str) -> bool:
        return path == name or path.startswith(f"{name}/")

    def cut(path: str) -> str:
        return path[len(name) + 1 :]

    inner = [op for op in whole.ops if op.kind != ACKNOWLEDGED and inside(op.path)]
    ops = [replace(op, path=cut(op.path), other=cut(op.other)) for op in inner]
    files = {cut(path): data for path, data in whole.files.items() if inside(path)}
    return Recording(files, frozenset(cut(path) for path in whole.folders if inside(path)), tuple(ops))


# -- processes that start on states


_HERE: dict[str, tuple[str, Path, Disk, Path]] = {}


def _judged(
    name: str, ground: Ground, recording: Recording, cuts: Sequence[Cut], onward: int
) -> Iterator[tuple[str, float]]:
    whole = [(cut, number % onward == 0) for number, cut in enumerate(cuts)]
    chunks = [whole[i : i + 64] for i in range(0, len(whole), 64)]
    if len(chunks) <= 1:
        _prepare(name, ground.bundles, recording, ground.work)
        yield from (pair for chunk in chunks for pair in _judge(chunk))
        return
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(
        ground.processes, context, _prepare, (name, ground.bundles, recording, ground.work)
    ) as pool:
        for part in pool.map(_judge, chunks):
            yield from part


def _prepare(name: str, bundles: Path, recording: Recording, work: Path) -> None:
    folder = work / f"judge-{os.getpid()}"
    _HERE["here"] = (name, bundles, Disk(recording), folder)


def _judge(cuts: Sequence[tuple[Cut, bool]]) -> list[tuple[str, float]]:
    name, bundles, disk, folder = _HERE["here"]
    found = []
    for cut, onward in cuts:
        seen, seconds = _started(name, disk, cut, folder, bundles, onward)
        for _ in range(_TRIES - 1):
            if seconds > _SLOW_S:
                seconds = min(seconds, _started(name, disk, cut, folder, bundles, onward)[1])
        found.append((seen, seconds))
    return found


def _started(name: str, disk: Disk, cut: Cut, folder: Path, bundles: Path, onward: bool) -> tuple[str, float]:
    put(disk.state(cut), folder)
    found = seen_at(name, folder, bundles, onward)
    shutil.rmtree(folder)
    return found


def seen_at(name: str, root: Path, bundles: Path, onward: bool = True) -> tuple[str, float]:
    """What a start on that root shows, as text, or "ERROR ..."; and its seconds. `onward`: it is taught and swept."""
    script = SCRIPTS[name]
    try:
        seen, seconds = script.look(Place(root, bundles), onward)
    except Exception as error:
        where = traceback.extract_tb(sys.exc_info()[2])[-1]
        return f"ERROR {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})", 0.0
    return text_of(name, seen), seconds


def text_of(name: str, seen: View) -> str:
    """Equal for views that are equal but for what the script ignores."""
    ignored = SCRIPTS[name].ignore

    def kept(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        return {key: kept(value) for key, value in part.items() if key not in ignored}

    return json.dumps(kept(seen), sort_keys=True)


def _fresh(ground: Ground, name: str) -> Path:
    path = ground.work / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
