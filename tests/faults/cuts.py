"""Real power cuts: an ext4 file system in an image, copied at random instants while a process learns, then mounted.

The copy is what the disk held at that instant: mounting it replays the journal, as after a cut. The writer is
stopped between two system calls while the copy is made; cuts inside of one are the simulation's business. What the
disk's own cache does is not shown here: the image lies in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.ground import Ground
from tests.faults.states import NOTHING, look
from tests.faults.tiny import FIRST
from tests.faults.tracing import REPO, python_path

__all__ = ["MOUNTS", "CutOutcome", "cut_power", "loop_missing"]

# What ext4 does for careless writers is switched off in two of the three.
MOUNTS = ("data=ordered", "data=ordered,noauto_da_alloc", "data=writeback,noauto_da_alloc")
IMAGE_BYTES = 16 << 20
_CLOSE = 1e-6  # what a live head and one that was opened again may differ by


@dataclass
class CutOutcome:
    """`cuts` images were copied, mounted and started on; `busy` of them fell into an operation in progress."""

    cuts: int = 0
    busy: int = 0
    operations: int = 0
    violations: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


def loop_missing() -> str:
    """Why no image can be mounted here, or ""."""
    if os.geteuid() != 0:
        return "mounting an image needs root"
    for tool in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(tool) is None:
            return f"no {tool} here"
    if not Path("/dev/loop-control").exists():
        return "no loop devices here"
    return ""


def cut_power(ground: Ground, cuts: int, *, mounts: str = MOUNTS[0], mutant: str = "", seed: int = 0) -> CutOutcome:
    """Cut the power `cuts` times under a process that installs, learns, forgets and starts again, without end."""
    outcome = CutOutcome()
    draw = random.Random(f"{seed} {mounts} {mutant}")
    work = ground.work / "cuts"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log, image, copy = work / "log", work / "disk", work / "copy"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    quick = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=1", "-E", quick, str(image)], check=True)
    seen: list[tuple[int, int, Any, float]] = []
    with _mounted(image, work / "live", mounts) as live, _writer(live, ground, log, mutant) as writer:
        for number in range(cuts):
            time.sleep(draw.uniform(0.0, 0.08))
            _stop(writer)
            life, acknowledged = _last(log)
            shutil.copyfile(image, copy)
            writer.send_signal(signal.SIGCONT)
            if life < 0:
                continue
            seen.append((life, acknowledged, *_after(copy, work / "after", mounts, life, ground)))
            if number % 50 == 49:
                time.sleep(draw.uniform(0.0, 6.0))  # beyond the interval at which the journal is committed by itself
        _let_finish(writer, log, *_last(log))
    told = _views(log)
    outcome.operations = len(told)
    for life, acknowledged, found, seconds in seen:
        outcome.cuts += 1
        outcome.slowest_s = max(outcome.slowest_s, seconds)
        outcome.busy += (life, acknowledged + 1) in told
        if isinstance(found, str):
            kind = found.split("\n")[0][:80]
        elif any(_alike(found, view) for view in _allowed(told, life, acknowledged)):
            continue
        else:
            earlier = [n for (its, n), (_, view) in told.items() if its == life and _alike(found, view)]
            kind = "lost" if earlier else "mixed"
        outcome.kinds[kind] += 1
        outcome.violations.append(f"life {life}, {acknowledged} acknowledged: {kind}: {str(found)[:400]}")
    return outcome


Told = dict[tuple[int, int], tuple[str, Any]]  # what was done and what was answered then, by life and number


def _allowed(told: Told, life: int, acknowledged: int) -> list[Any]:
    """What was acknowledged, what was in progress, and between them the samples without the move of the head."""
    _, before = told[life, acknowledged]
    if (life, acknowledged + 1) not in told:
        return [before]
    act, after = told[life, acknowledged + 1]
    return [before, after, {**before, "learnt": after["learnt"]}] if act == "learn" else [before, after]


@contextlib.contextmanager
def _mounted(image: Path, at: Path, mounts: str) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", f"loop,{mounts}", str(image), str(at)], check=True, capture_output=True)
    try:
        yield at
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(at)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{at} stays mounted")


@contextlib.contextmanager
def _writer(live: Path, ground: Ground, log: Path, mutant: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.faults.writer", str(live), str(ground.bundles), *filter(None, [mutant])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), "ACKS": str(log)}
    errors = log.with_suffix(".err")
    with errors.open("wb") as stream:
        writer = subprocess.Popen(command, cwd=REPO, env=environment, stderr=stream)
    try:
        while not log.exists() or log.stat().st_size == 0:
            if writer.poll() is not None:
                raise RuntimeError(errors.read_text())
            time.sleep(0.01)
        try:
            yield writer
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {errors.read_text()}") from error
    finally:
        writer.kill()
        writer.wait()


def _stop(writer: subprocess.Popen[bytes]) -> None:
    """Until no system call is in progress."""
    writer.send_signal(signal.SIGSTOP)
    while writer.poll() is None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # of a thread that just ended
            if {_thread_state(path) for path in Path(f"/proc/{writer.pid}/task").iterdir()} <= {"T"}:
                return
        time.sleep(0.0002)
    raise RuntimeError("the writer ended")


def _thread_state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def _let_finish(writer: subprocess.Popen[bytes], log: Path, life: int, acknowledged: int) -> None:
    """Until the operation that the last cut fell into has told its view."""
    deadline = time.monotonic() + 30
    while (life, acknowledged + 1) not in _views(log) and _last(log)[0] == life and time.monotonic() < deadline:
        time.sleep(0.02)


def _lines(log: Path) -> list[dict[str, Any]]:
    text = log.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _last(log: Path) -> tuple[int, int]:
    """The life in progress, and how many of its operations were acknowledged."""
    marks = [line for line in _lines(log) if "view" not in line]
    return (marks[-1]["life"], marks[-1]["n"]) if marks else (-1, 0)


def _views(log: Path) -> Told:
    return {(line["life"], line["n"]): (line["act"], line["view"]) for line in _lines(log) if "view" in line}


def _after(copy: Path, at: Path, mounts: str, life: int, ground: Ground) -> tuple[Any, float]:
    try:
        with _mounted(copy, at, mounts):
            found = look(at / str(life), ground.bundles / FIRST, learn=True)
            return found.view, found.seconds
    except Exception as error:
        return f"{type(error).__name__}: {error}", 0.0


def _alike(one: Any, other: Any) -> bool:
    if one == NOTHING or other == NOTHING:
        return bool(one == other)
    if any(one[part] != other[part] for part in ("learnt", "notes", "device")):
        return False
    if any(one["live"][fact] != other["live"][fact] for fact in ("generation", "generations", "recovered")):
        return False
    for (label, _, numbers, outlier), its in zip(one["live"]["answers"], other["live"]["answers"], strict=True):
        if label != its[0] or numbers.keys() != its[2].keys():
            return False
        if max(abs(numbers[key] - its[2][key]) for key in numbers) > _CLOSE:
            return False
        if abs(outlier - its[3]) > _CLOSE * max(1.0, abs(outlier)):
            return False
    return True
