"""Many processes on one state, killed at random: one writer at a time, readers that see committed states only.

`python -m tests.faults.crowd ROLE STATE BUNDLES LOG SEED` is one of them; it goes on until it is killed or LOG.stop is
there. Every process has a log of its own, in which a line is written by one system call.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import GenerationError, StateBusyError, UnknownSampleError

from tests.faults import mutants, tiny
from tests.faults.ground import Ground
from tests.faults.scripts import teach
from tests.faults.states import look
from tests.faults.tracing import REPO, python_path

__all__ = ["CrowdOutcome", "crowd"]

ROLES = ("writer", "writer", "writer", "installer", "reader", "reader", "reader", "reader")


@dataclass
class CrowdOutcome:
    """`changes` were acknowledged, `reads` looked at by readers.

    `refusals_s` is how long each opening beside a writer took to be refused.
    """

    kills: int = 0
    changes: int = 0
    reads: int = 0
    refusals_s: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def crowd(ground: Ground, changes: int, *, seed: int = 0, mutant: str = "") -> CrowdOutcome:
    """Eight processes until so many changes were acknowledged; one after another is killed and started again."""
    draw = random.Random(seed)
    home = ground.work / "crowd"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    state = home / "state"
    with tiny.opened(state, ground.bundles / tiny.FIRST, policy="immediate"):
        pass
    outcome = CrowdOutcome()
    count = 0

    def start(role: str) -> tuple[str, subprocess.Popen[bytes], Path]:
        nonlocal count
        count += 1
        log = home / f"{count:04d}.log"
        errors = (home / f"{count:04d}.err").open("wb")
        command = [sys.executable, "-m", "tests.faults.crowd", role, str(state), str(ground.bundles), str(log)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()}
        with errors:
            return role, subprocess.Popen([*command, str(count), mutant], cwd=REPO, env=environment, stderr=errors), log

    running = [start(role) for role in ROLES]
    try:
        while _changes(home) < changes:
            time.sleep(draw.uniform(0.1, 0.8))
            number = draw.randrange(len(running))
            role, process, log = running[number]
            if process.poll() is None:
                if not log.exists() or log.stat().st_size == 0:
                    continue  # it is still starting
                process.kill()
                outcome.kills += 1
            elif process.returncode:
                break  # it says why in its errors
            process.wait()
            running[number] = start(role)
    finally:
        (home / "stop").touch()
        for _, process, _ in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
    _judge(outcome, home, look(state, ground.bundles / tiny.FIRST).view)
    return outcome


def _changes(home: Path) -> int:
    return sum(path.read_bytes().count(b'"learnt"') for path in home.glob("*.log"))


def _records(home: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(home.glob("*.log")):
        for line in path.read_text().splitlines():
            yield path.stem, json.loads(line)


def _judge(outcome: CrowdOutcome, home: Path, last: Any) -> None:
    for path in sorted(home.glob("*.err")):
        text = [line for line in path.read_text().splitlines() if "Traceback" in line or "Error" in line]
        outcome.violations += [f"{path.name}: {line}" for line in text]
    learnt: set[int] = set()
    forgotten: set[int] = set()
    committed = {"[]"}
    answers: dict[int, tuple[str, Any]] = {}
    seen: list[tuple[str, str]] = []
    for who, record in _records(home):
        learnt.update(record.get("learnt", []))
        forgotten.update(record.get("forgetting", []))
        outcome.changes += "learnt" in record
        if "busy_s" in record:
            outcome.refusals_s.append(record["busy_s"])
        if "committed" in record:
            committed.add(json.dumps(record["committed"]))
        if "seen" in record:
            outcome.reads += 1
            seen.append((who, json.dumps(record["seen"])))
        if "live" in record:
            number, its = record["live"]
            first = answers.setdefault(number, (who, its))
            if first[1] != its:
                outcome.violations.append(f"generation {number} answers otherwise in {who} than in {first[0]}")
    for who, samples in seen:
        if samples not in committed:
            outcome.violations.append(f"{who} saw samples that were never committed together: {samples[:200]}")
    left = {sample[0] for sample in last["learnt"]["samples"]}
    if learnt - forgotten - left:
        outcome.violations.append(f"acknowledged samples are gone: {sorted(learnt - forgotten - left)[:20]}")
    if last["notes"] != {"quarantined": 0, "kept_aside": []}:
        outcome.violations.append(f"damage: {last['notes']}")


# -- one of the processes


def main(arguments: list[str]) -> None:
    role, state, bundles, log, seed, mutant = arguments
    if mutant:
        mutants.MUTANTS[mutant].apply()
    logging.disable(logging.CRITICAL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    draw = random.Random(int(seed))

    def tell(**record: Any) -> None:
        os.write(descriptor, (json.dumps(record) + "\n").encode())

    stop = Path(log).parent / "stop"
    act = {"writer": _write, "installer": _write, "reader": _read}[role]
    while not stop.exists():
        bundle = Path(bundles) / draw.choice([tiny.FIRST, tiny.SECOND]) if role == "installer" else None
        began = time.monotonic()
        try:
            act(Path(state), bundle, draw, tell)
        except StateBusyError:
            tell(busy_s=time.monotonic() - began)
            time.sleep(draw.uniform(0.0, 0.05))


def _write(state: Path, bundle: Path | None, draw: random.Random, tell: Any) -> None:
    with tiny.opened(state, bundle, policy="immediate") as session:
        tell(committed=_samples(session), live=_live(session))
        for _ in range(draw.randrange(1, 12)):
            choice = draw.random()
            if choice < 0.7:
                start = draw.randrange(40)
                tell(learnt=teach(session, start, start + draw.randrange(1, 5)))
            elif choice < 0.85 and session.samples():
                chosen = draw.choice(session.samples()).id
                tell(forgetting=[chosen])
                with contextlib.suppress(UnknownSampleError):
                    session.forget(chosen)
            else:
                with contextlib.suppress(GenerationError):
                    session.rollback()
            tell(committed=_samples(session), live=_live(session))
    time.sleep(draw.uniform(0.0, 0.02))


def _read(state: Path, bundle: None, draw: random.Random, tell: Any) -> None:
    with tiny.opened(state, read_only=True) as session:
        for _ in range(draw.randrange(1, 12)):
            tell(seen=_samples(session), live=_live(session))
            session.refresh()


def _samples(session: Any) -> list[Any]:
    return [[s.id, s.label, s.source] for s in session.samples()]


def _live(session: Any) -> list[Any]:
    found = session.predict_many(tiny.probes())
    numbers = {p.generation for p in found}
    if len(numbers) != 1:
        return [-1, "answers of several generations"]
    return [numbers.pop(), [[p.label, sorted((k, round(v, 9)) for k, v in p.probabilities.items())] for p in found]]


if __name__ == "__main__":
    main(sys.argv[1:])
