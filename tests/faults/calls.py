"""Each system call failed in turn: strace fails the k-th call of a kind that touches the state, for every k.

A server that has imported everything forks a child for each case, so that a case costs milliseconds. The child
waits until strace holds it; what it was refused is tried once more, and the device must go on. Every case asserts
that its fault fired: strace says so, or the child is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.crashes import Reference, recorded, reference, seen_at, text_of
from tests.faults.disk import Disk
from tests.faults.ground import Ground
from tests.faults.scripts import SCRIPTS, Place
from tests.faults.tracing import REPO, python_path

__all__ = ["FAULTS", "CallOutcome", "Fault", "Server", "cases_of", "fail_calls", "fail_one"]

# What each call can really answer; "0" is a write that took nothing, the one short write that strace can tell
# without lying about what is on the disk. Longer short writes are the business of the full disks.
FAULTS: dict[str, tuple[str, ...]] = {
    "openat": ("SIGKILL", "EACCES", "EROFS", "EMFILE", "ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("SIGKILL", "ENOSPC", "EIO", "EINTR", "0"),
    "write": ("SIGKILL", "ENOSPC", "EIO", "EINTR", "0"),
    "fsync": ("SIGKILL", "EIO", "ENOSPC", "EINTR"),
    "fdatasync": ("SIGKILL", "EIO", "ENOSPC", "EINTR"),
    "ftruncate": ("SIGKILL", "EIO", "ENOSPC", "EINTR"),
    "rename": ("SIGKILL", "EACCES", "EROFS", "ENOSPC", "EIO"),
    "unlink": ("SIGKILL", "EACCES", "EROFS", "EIO"),
    "mkdir": ("SIGKILL", "EACCES", "EROFS", "ENOSPC"),
    "mmap": ("ENOMEM",),
    "flock": ("EINTR", "ENOLCK"),
    "fcntl": ("EACCES", "ENOLCK"),
    "read": ("EIO", "EINTR"),
    "pread64": ("EIO", "EINTR"),
}


@dataclass(frozen=True)
class Fault:
    """The k-th `call` of a script, counted from when it starts, fails with `fault`."""

    script: str
    call: str
    fault: str
    k: int

    @property
    def option(self) -> str:
        kind = {"SIGKILL": "signal=SIGKILL", "0": "retval=0"}.get(self.fault, f"error={self.fault}")
        return f"inject={self.call}:{kind}:when={self.k}"


@dataclass
class CallOutcome:
    """`fired` faults, of them `died` by SIGKILL, `refused` answered with a typed error and `unseen` without one.

    `kept` counts changes that were refused and are there all the same: what fails at the last moment is undecided.
    `rescued` counts files that could not be read once, and were set aside after all in them was saved.
    """

    fired: int = 0
    died: int = 0
    refused: int = 0
    unseen: int = 0
    kept: int = 0
    rescued: int = 0
    violations: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


def fail_calls(server: Server, scripts: Iterable[str], *, every: int = 1, calls: str = "") -> CallOutcome:
    """Every fault of every call of those scripts, or each `every`-th; `calls` restricts to one kind of call."""
    outcome = CallOutcome()
    for name in scripts:
        for case in [case for case in cases_of(name, server) if calls in ("", case.call)][::every]:
            fail_one(case, server, outcome)
    return outcome


def cases_of(name: str, server: Server) -> list[Fault]:
    """All faults for the calls of one script that touch its root, found by a run without any."""
    root = server.fresh(name)
    log, _ = server.run(name, root, [])
    counts: Counter[str] = Counter()
    found = []
    for line in log.splitlines():
        match = re.match(r"^\d+ +(\w+)\((.*)", line)
        if match is None or match[1] not in FAULTS:
            continue
        counts[match[1]] += 1
        if str(root) in match[2] and "F_UNLCK" not in match[2] and "F_GETLK" not in match[2]:
            found += [Fault(name, match[1], fault, counts[match[1]]) for fault in FAULTS[match[1]]]
    beyond = [Fault(name, "fdatasync", "EIO", counts["fdatasync"] + 1)]
    for case in beyond:  # and there is no further one
        log, _ = server.run(name, server.fresh(name), [case.option])
        if "INJECTED" in log:
            raise AssertionError(f"{case} fired, though a run has fewer of these calls")
    return found


def fail_one(case: Fault, server: Server, outcome: CallOutcome) -> None:
    """Play the script with that one fault, and judge what it left."""
    root = server.fresh(case.script)
    before = server.reference(case.script)
    log, told = server.run(case.script, root, [case.option])
    died = server.code == -signal.SIGKILL
    if not died and "(INJECTED)" not in log:
        outcome.violations.append(f"{case}: the fault did not fire")
        return
    outcome.fired += 1
    outcome.died += died
    wrong = []
    refused = [line["refused"] for line in told if "refused" in line]
    outcome.errors.update(refused)
    outcome.refused += bool(refused)
    outcome.unseen += not refused and not died
    acknowledged = max((line["n"] for line in told if "n" in line), default=0)
    wrong += [line["wrong"] for line in told if "wrong" in line]
    if not died and not any("end" in line for line in told):
        wrong.append(f"ended without a word: {told[-1:]}")
    shown, _ = seen_at(case.script, root, server.ground.bundles)
    verdict = _compared(case, shown, before, acknowledged, told)
    outcome.kept += verdict == "kept" and not died
    outcome.rescued += verdict == "rescued"
    if verdict not in ("", "kept", "rescued"):
        wrong.append(verdict)
    for what in wrong:
        outcome.kinds[what[:100]] += 1
        outcome.violations.append(f"{case}: {what}")


def _compared(case: Fault, shown: str, before: Reference, acknowledged: int, told: list[dict[str, Any]]) -> str:
    """Nothing where all is as it was told, "kept" where a step shows that was refused, "rescued", or what is wrong."""
    if shown.startswith("ERROR"):
        return shown[:300]
    if shown in before.allowed(acknowledged, acknowledged + 1):
        return "" if shown == before.views[acknowledged] else "kept"
    seen = json.loads(shown)
    expected = [json.loads(view) for view in before.views[acknowledged : acknowledged + 2]]
    read = case.call in ("read", "pread64")
    if read and any(_without(seen, "kept_aside") == _without(view, "kept_aside") for view in expected):
        return "rescued"  # what cannot be read is taken for damage, and all was saved
    if "learnt" not in seen or not any(_taught(seen) == _taught(view) for view in expected):
        return "lost" if shown in before.views[:acknowledged] else f"mixed: {shown[:300]}"
    if read and seen["notes"].get("kept_aside", True):  # a script that ignores it starts on a file that is set aside
        return "rescued"
    # A head that could not be stored is not live: samples are acknowledged, promotions are not.
    lives = [json.loads(text_of(case.script, line["live"])) for line in told if "live" in line]
    return "" if seen["live"] in lives[-1:] else f"another head than was told: {shown[-300:]}"


def _without(part: Any, name: str) -> Any:
    if not isinstance(part, dict):
        return part
    return {key: _without(value, name) for key, value in part.items() if key != name}


def _taught(view: Any) -> Any:
    """What was learnt, without the number of the head that was live then."""
    learnt = view.get("learnt", {})
    return {**learnt, "samples": [[*sample[:3], *sample[4:]] for sample in learnt.get("samples", [])]}


class Server:
    """The process that forks a child for each case."""

    def __init__(self, ground: Ground, mutant: str = "") -> None:
        self.ground = ground
        self.code = 0
        self._mutant = mutant
        self._work = ground.work / "calls"
        self._known: dict[str, Reference] = {}

    def __enter__(self) -> Server:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        command = [sys.executable, "-m", "tests.faults.forker", str(self.ground.bundles), self._mutant]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()}
        self._errors = (self._work / "errors").open("w+b")
        self._process = subprocess.Popen(
            command, cwd=REPO, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._errors.close()

    def reference(self, name: str) -> Reference:
        """What is seen after each step of a script when nothing fails."""
        if name not in self._known:
            self._known[name] = reference(name, self.ground, Disk(recorded(name, self.ground)))
        return self._known[name]

    def fresh(self, name: str) -> Path:
        """A root with what the script starts from, prepared once and copied then."""
        base = self._work / "bases" / name.replace(" ", "-")
        if not base.exists():
            base.mkdir(parents=True)
            SCRIPTS[name].prepare(Place(base, self.ground.bundles))
        root = self._work / "root"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(base, root)
        return root

    def run(self, script: str, root: Path, options: list[str]) -> tuple[str, list[dict[str, Any]]]:
        """Play a script with those faults: strace's log, and what the child told; `code` is how it ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        acks, log = self._work / "acks", self._work / "log"
        for path in (acks, log):
            path.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps([script, str(root), str(acks)]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError((self._work / "errors").read_text())
        pid = int(answer)
        traced = ",".join(FAULTS)
        command = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={traced}", "-e", "signal=none", "-o", str(log)]
        for option in options:
            command += ["-e", option]
        tracer = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            raise RuntimeError(f"strace does not attach: {said}{tracer.stderr.read()}")
        os.kill(pid, signal.SIGCONT)
        tracer.communicate(timeout=60)
        self.code = int(self._process.stdout.readline())
        told = [json.loads(line) for line in acks.read_text().splitlines()] if acks.exists() else []
        return log.read_text(), told
