"""Faults put into the code on purpose, one at a time, in a child process: a suite that passes one is itself wrong.

They are patches of Python's own functions where that will do, so that they outlive changes of the code under test.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CRASH_MUTANTS", "CUT_MUTANTS", "MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """`apply` changes this process for good. `script` is one that must show it."""

    apply: Callable[[], None]
    script: str


def _synchronous(level: str) -> Callable[[], None]:
    """Whatever durability is asked of SQLite, it is given less."""

    def apply() -> None:
        real = sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:  # type: ignore[override]
                if sql.startswith("PRAGMA synchronous"):
                    sql = f"PRAGMA synchronous = {level}"
                return super().execute(sql, *rest)

        sqlite3.connect = lambda *args, **options: real(*args, **{"factory": Connection, **options})  # type: ignore[assignment]

    return apply


def _fsync_skips(kind: Callable[[int], bool]) -> Callable[[], None]:
    """os.fsync does nothing for folders, or for files."""

    def apply() -> None:
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if not kind(os.fstat(descriptor).st_mode):
                real(descriptor)

        os.fsync = fsync  # type: ignore[assignment]

    return apply


def _all_off() -> None:
    _synchronous("OFF")()
    _fsync_skips(lambda mode: True)()


def _pointer_first() -> None:
    """The pointer is committed before the generation that it names."""
    from dataclasses import replace

    from edgetl_runtime.teaching import Lineage

    real = Lineage.promote

    def promote(self: Any, *args: Any, **options: Any) -> None:
        self._store.generations.point(replace(self.pointer, active=self.pointer.newest + 1))
        real(self, *args, **options)

    Lineage.promote = promote  # type: ignore[method-assign]


def _in_place() -> None:
    """Whole files are written over the old ones."""
    from edgetl_runtime import trust
    from edgetl_runtime.bundle import container

    def replace_file(path: Any, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        container.sync_folder(path.parent)

    container.replace_file = replace_file  # type: ignore[assignment]
    trust.replace_file = replace_file  # type: ignore[assignment]


def _short_write_ignored() -> None:
    """What `write` really took is not looked at."""
    from edgetl_runtime import trust
    from edgetl_runtime.bundle import container

    def replace_file(path: Any, data: bytes) -> None:
        temporary = path.with_name(f".{os.getpid()}.tmp")
        descriptor = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        container.sync_folder(path.parent)

    container.replace_file = replace_file  # type: ignore[assignment]
    trust.replace_file = replace_file  # type: ignore[assignment]


def _no_room_kept() -> None:
    """On a full disk nothing is given back."""
    from edgetl_runtime.store import opening, state

    for module in (opening, state):
        module.release_ballast = lambda folder: False  # type: ignore[attr-defined]


def _no_lock() -> None:
    """Whoever asks for the writer's lock is given it."""
    import fcntl

    fcntl.flock = lambda descriptor, operation: None  # type: ignore[assignment]


def _leak() -> None:
    """Every prediction leaves something behind in memory, and every learnt sample an open file."""
    from edgetl_runtime.session import Session

    predict, learn, kept = Session.predict, Session.learn, []

    def leaking_predict(self: Any, sample: Any) -> Any:
        kept.append(bytearray(4096))
        return predict(self, sample)

    def leaking_learn(self: Any, *args: Any, **options: Any) -> Any:
        kept.append(os.open(os.devnull, os.O_RDONLY))
        return learn(self, *args, **options)

    Session.predict, Session.learn = leaking_predict, leaking_learn  # type: ignore[method-assign]


def _order_by_the_clock() -> None:
    """The generation with the latest stamp is taken for the newest."""
    from dataclasses import replace

    from edgetl_runtime.store.generations import Generations

    real = Generations.pointer

    def pointer(self: Any) -> Any:
        found, made = real(self), self.listed()
        if found is None or not found.active or not made:
            return found
        return replace(found, active=max(made, key=lambda one: one.wall_s).number)

    Generations.pointer = pointer  # type: ignore[method-assign]


def _no_hash_check() -> None:
    """Whatever a row holds, its hash is the one that was stored."""
    import importlib
    import pkgutil
    from types import SimpleNamespace

    from edgetl_runtime import store

    def sha256(data: bytes = b"") -> Any:
        return SimpleNamespace(update=lambda more: None, digest=lambda: bytes(32), hexdigest=lambda: "0" * 64)

    for module in pkgutil.iter_modules(store.__path__, f"{store.__name__}."):
        loaded = importlib.import_module(module.name)
        if hasattr(loaded, "hashlib"):
            loaded.hashlib = SimpleNamespace(sha256=sha256)  # type: ignore[attr-defined]


MUTANTS: dict[str, Mutant] = {
    "no fsync at all": Mutant(_all_off, "learn"),
    "synchronous=NORMAL": Mutant(_synchronous("NORMAL"), "learn"),
    "pointer before generation": Mutant(_pointer_first, "learn at once"),
    "no folder sync": Mutant(_fsync_skips(stat.S_ISDIR), "install"),
    "no file sync": Mutant(_fsync_skips(stat.S_ISREG), "install"),
    "files written in place": Mutant(_in_place, "trust"),
    "short write ignored": Mutant(_short_write_ignored, "trust"),
    "no room kept": Mutant(_no_room_kept, "disk"),
    "a leak": Mutant(_leak, "soak"),
    "order by the clock": Mutant(_order_by_the_clock, "clock"),
    "no lock": Mutant(_no_lock, "crowd"),
    "no hash check": Mutant(_no_hash_check, "damage"),
}

# Those that the simulation shows, and those that real cuts show: ext4 itself forgives a folder that was not synced.
CRASH_MUTANTS = (
    "no fsync at all", "synchronous=NORMAL", "pointer before generation", "no folder sync", "no file sync",
    "files written in place",
)  # fmt: skip
CUT_MUTANTS = ("no fsync at all", "synchronous=NORMAL", "no file sync")
