"""A full disk, files that may not grow, no memory, a disk that is read-only, a wrong clock.

`python -m tests.faults.scarcity KIND ROOT BUNDLES AMOUNTS` tries each amount in a process of its own and prints a JSON
line for each: what was refused, and what is wrong. The functions of this module start such processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgetl_runtime.errors import EdgetlError, StateError

from tests.faults import mutants, tiny
from tests.faults.ground import Ground
from tests.faults.scripts import teach
from tests.faults.states import look, view
from tests.faults.tracing import REPO, python_path
from tests.runtime.fake_clock import faketime_library, remove_leftovers

__all__ = ["CLOCKS", "namespaces_missing", "scarce", "told_by_clocks"]

_ROOM = "size=64m"
MIB = 1 << 20
CLOCKS = {"ten years ago": -3650 * 86400, "in ten years": 3650 * 86400, "1970": None}


def namespaces_missing() -> str:
    """Why no file system can be mounted in a namespace of its own, or ""."""
    if shutil.which("unshare") is None:
        return "no unshare here"
    command = [*_alone(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"no mount in a namespace of its own: {done.stderr.strip()}"


# What onnxruntime says when an allocation fails where nothing can be caught: the latter in a thread of its own.
_ENGINE_ENDS = ("onnxruntime", "std::bad_alloc")


def scarce(kind: str, ground: Ground, amounts: Sequence[int], mutant: str = "") -> list[dict[str, Any]]:
    """Each amount of "disk" or "file" (KiB), "memory" (KiB) or "readonly" (0): the lines that were printed."""
    if kind == "memory" and len(amounts) > 1:  # a process that had the memory once keeps it
        return [line for amount in amounts for line in scarce(kind, ground, [amount], mutant)]
    root = ground.work / "scarcity"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    given = [kind, str(root), str(ground.bundles), json.dumps(list(amounts))]
    command = [sys.executable, "-m", "tests.faults.scarcity", *given]
    alone = _alone() if kind in ("disk", "readonly") else []
    done = subprocess.run(
        [*alone, *command, *([mutant] if mutant else [])], cwd=REPO, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()},
    )  # fmt: skip
    if kind == "memory" and done.returncode == -signal.SIGABRT and any(one in done.stderr for one in _ENGINE_ENDS):
        return [_aborted(root / "0" / "state", ground.bundles)]
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def told_by_clocks(ground: Ground, mutant: str = "") -> dict[str, dict[str, Any]]:
    """What a life ends in under each clock, and what its events say about the time."""
    library = faketime_library()
    told = {"right": _life(ground, {}, mutant)}
    for name, seconds in CLOCKS.items():
        if library is not None:
            when = "@1970-01-01 00:00:10" if seconds is None else f"{seconds:+d}"
            fake = {"LD_PRELOAD": str(library), "FAKETIME": when, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            told[name] = _life(ground, fake, mutant)
    # An hour back in the middle, and to and fro: by a clock that the process itself is given.
    told["back in the middle"] = _life(ground, {"FAULTS_CLOCK": "jumps"}, mutant)
    return told


def _life(ground: Ground, variables: dict[str, str], mutant: str) -> dict[str, Any]:
    root = ground.work / "clock"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    given = ["clock", str(root), str(ground.bundles), "[0]", *filter(None, [mutant])]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.scarcity", *given],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), **variables},
    )  # fmt: skip
    output, errors = child.communicate()
    remove_leftovers(child.pid)
    if child.returncode != 0:
        raise RuntimeError(errors)
    found: dict[str, Any] = json.loads(output)
    return found


def _alone() -> list[str]:
    return ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]


# -- in the process


def main(arguments: list[str]) -> None:
    kind, root, bundles, amounts, *mutant = arguments
    if mutant:
        mutants.MUTANTS[mutant[0]].apply()
    logging.disable(logging.CRITICAL)
    logging.getLogger().addHandler(logging.NullHandler())
    act = {"disk": _disk, "file": _file, "memory": _memory, "readonly": _readonly, "clock": _clock}[kind]
    for number, amount in enumerate(json.loads(amounts)):
        place = Path(root) / str(number)
        place.mkdir()
        print(json.dumps({"amount": amount, **act(place, Path(bundles), amount)}), flush=True)


def _disk(place: Path, bundles: Path, kib: int) -> dict[str, Any]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)], check=True)
    try:
        larger = ["mount", "-o", f"remount,{_ROOM}", str(place)]
        return _filled(place, bundles, True, lambda: subprocess.run(larger, check=True))
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _file(place: Path, bundles: Path, kib: int) -> dict[str, Any]:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (kib << 10, hard))
    try:
        return _filled(place, bundles, False, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _filled(place: Path, bundles: Path, ballast: bool, make_room: Callable[[], object]) -> dict[str, Any]:
    """Learn until there is no room: the head answers on and can go back; with room all samples are there."""
    state, wrong, keys = place / "state", [], []
    acknowledged: list[int] = []
    refused = ""
    told: Any = None
    try:
        with _closing_somehow(tiny.opened(state, bundles / tiny.FIRST, policy="immediate")) as session:
            for number in ("1", "2"):
                keys.append(_trusted(state, bundles / f"{number}.pub"))
            session.predict(tiny.probes()[0])
            ballast = ballast and (state / "ballast").exists()  # a disk may be too small even for that
            while not refused and len(acknowledged) < 3000:
                before = _asked(session)
                start = len(acknowledged) % 40
                try:
                    acknowledged += teach(session, start, start + 8)
                except EdgetlError as error:
                    refused = type(error).__name__
                    if _asked(session) != before:
                        wrong.append("another answer after a sample that was refused")
            if session.status()["generation"]:
                try:
                    session.rollback()
                except StateError as error:  # only a full disk has room that was kept for it
                    wrong += [f"no way back without room: {error}"] if ballast else []
            told = view(session, state)
    except EdgetlError as error:
        if acknowledged:
            wrong.append(f"{type(error).__name__}: {error}")
        refused = refused or type(error).__name__
    if acknowledged:  # it starts without room, and answers as it did
        with contextlib.suppress(StateError), tiny.opened(state, read_only=True) as session:
            wrong += _differences(view(session, state), told, "a reader without room")
        try:
            with tiny.opened(state) as session:
                wrong += _differences(view(session, state), told, "a start without room")
        except EdgetlError as error:
            wrong += [f"no start without room: {type(error).__name__}: {error}"] if ballast else []
    make_room()
    try:
        found = look(state, bundles / tiny.FIRST, learn=True).view
        if told is not None:
            wrong += _differences(found, told, "with room")
            if [sample[0] for sample in found["learnt"]["samples"]] != acknowledged:
                wrong.append("acknowledged samples are gone")
            if any(key not in found["device"]["keys"] for key in keys if key):
                wrong.append("a trusted key is gone")
    except EdgetlError as error:
        wrong.append(f"with room: {type(error).__name__}: {error}")
    return {"refused": refused, "acknowledged": len(acknowledged), "wrong": wrong}


def _trusted(state: Path, pem: Path) -> str:
    from edgetl_runtime.trust import trust_key

    try:
        return trust_key(state, pem.read_bytes())
    except EdgetlError:
        return ""


def _differences(found: Any, told: Any, where: str) -> list[str]:
    if "live" not in found:
        return [f"{where}: as if nothing had been installed"]
    parts = [part for part in ("learnt", "notes") if found[part] != told[part]]
    if found["live"]["answers"] != told["live"]["answers"]:
        parts.append("answers")
    return [f"{where}: {part} differ" for part in parts]


def _asked(session: Any) -> Any:
    return [(p.label, p.generation, p.probabilities) for p in session.predict_many(tiny.probes())]


@contextlib.contextmanager
def _closing_somehow(session: Any) -> Iterator[Any]:
    try:
        yield session
    finally:
        session.close()


def _memory(place: Path, bundles: Path, kib: int) -> dict[str, Any]:
    """Learn with so much more memory than there is use for now; what fails must leave inference and state."""
    state, wrong, refused = place / "state", [], ""
    samples, labels = tiny.frames(5000)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with tiny.opened(state, bundles / tiny.FIRST, policy="immediate") as session:
        acknowledged = teach(session, 0, 8)
        before = _asked(session)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (kib << 10), hard))
        try:
            acknowledged += session.learn_many(samples, labels)
        except (EdgetlError, MemoryError) as error:
            refused = type(error).__name__
        except BaseException as error:
            wrong.append(f"not a typed error: {type(error).__name__}: {error}")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        after = _asked(session)
        if refused and after != before:
            wrong.append("another answer after what was refused for memory")
        told = view(session, state)
    found = look(state, bundles / tiny.FIRST, learn=True).view
    wrong += _differences(found, told, "opened again")
    if [sample[0] for sample in found["learnt"]["samples"]] != acknowledged:
        wrong.append("acknowledged samples are gone, or others are there")
    shutil.rmtree(place)
    return {"refused": refused, "acknowledged": len(acknowledged), "wrong": wrong}


def _aborted(state: Path, bundles: Path) -> dict[str, Any]:
    """onnxruntime itself ends the process at some allocations: what it had acknowledged must be there."""
    found = look(state, bundles / tiny.FIRST, learn=True).view
    kept = len(found["learnt"]["samples"])
    wrong = [] if kept in (8, 5008) else [f"{kept} samples after a process that acknowledged 8 and was learning 5,000"]
    return {"refused": "onnxruntime ended the process", "acknowledged": kept, "wrong": wrong}


def _readonly(place: Path, bundles: Path, _: int) -> dict[str, Any]:
    wrong, refused = [], ""
    subprocess.run(["mount", "-t", "tmpfs", "-o", _ROOM, "tmpfs", str(place)], check=True)
    state = place / "state"
    with tiny.opened(state, bundles / tiny.FIRST, policy="immediate") as session:
        teach(session, 0, 12)
        told = view(session, state)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with tiny.opened(state, read_only=True) as session:
        wrong += _differences(view(session, state), told, "read-only")
        try:
            teach(session, 12, 13)
            wrong.append("learnt on a read-only disk")
        except StateError as error:
            refused = type(error).__name__
    try:
        tiny.opened(state)
        wrong.append("opened a read-only disk for writing")
    except StateError:
        pass
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    wrong += _differences(look(state, bundles / tiny.FIRST, learn=True).view, told, "writable again")
    subprocess.run(["umount", str(place)], check=True)
    return {"refused": refused, "wrong": wrong}


def _clock(place: Path, bundles: Path, _: int) -> dict[str, Any]:
    if os.environ.get("FAULTS_CLOCK") == "jumps":
        began, calls = time.time(), iter(range(1 << 30))
        time.time = lambda: began + (-3600.0) ** (next(calls) % 3)  # type: ignore[assignment]
    state = place / "state"
    with tiny.opened(state, bundles / tiny.FIRST, policy="immediate") as session:
        for i in range(6):
            teach(session, 4 * i, 4 * i + 4, source=("left", "right")[i % 2])
        session.rollback(to=3)
        session.forget(source="left")
        session.review()
        for i in range(8):  # what is live in the end is the newest by number
            teach(session, 30 + i, 31 + i)
        told = view(session, state)
    found = look(state, bundles / tiny.FIRST).view
    with tiny.opened(state, read_only=True) as session:
        stamps = [entry.wall_s for entry in session.history()]
    return {"view": found, "wrong": _differences(found, told, "opened again"), "stamps": stamps}


if __name__ == "__main__":
    main(sys.argv[1:])
