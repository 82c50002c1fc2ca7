"""What a disk may hold after the power was cut: every state that a recording allows, by SQLite's own model.

- Names change in order, as in a journaling file system, but a prefix of the changes is enough: those that a
  synced folder forced, and any number after. A synced file does not keep its name; only its folder does.
- Every write to a file since it was last synced is, each for itself, written, dropped, extended with zeros, torn at
  a sector, garbage, or a mix of these sector by sector (SQLite's src/test6.c: written, dropped or trashed).
- Shared memory (`-shm`) is never synced: it is gone, zero or garbage.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.tracing import ACKNOWLEDGED, Op, Recording

__all__ = ["Cut", "Disk", "State", "put"]

SECTOR = 512
_SHARED_BYTES = 32768
OUTCOMES = ("written", "dropped", "zeros", "garbage", "torn", "mixed")
_SURE = (0.35, 0.25, 0.08, 0.08, 0.12, 0.12)  # how often a random draw takes each

State = tuple[dict[str, bytes], frozenset[str]]  # files by name, and folders


@dataclass(frozen=True)
class Cut:
    """One crash state: after which operation, how many changes of names reached the disk, and a draw of outcomes.

    `draw` counts the outcomes that are tried for this point: the first are chosen, the others random.
    """

    point: int
    names: int
    draw: int


@dataclass
class _File:
    first: bytes = b""
    events: list[tuple[int, Op]] = field(default_factory=list)  # writes and truncations, by number of operation
    synced: list[tuple[int, int]] = field(default_factory=list)  # after this operation, so many events are safe
    cache: dict[int, bytes] = field(default_factory=dict)

    def safe(self, point: int) -> int:
        return max((events for at, events in self.synced if at <= point), default=0)

    def pending(self, point: int) -> list[tuple[int, Op]]:
        return [event for event in self.events[self.safe(point) :] if event[0] <= point]

    def kept(self, point: int) -> bytes:
        """What is certain to be on the disk."""
        count = self.safe(point)
        if count not in self.cache:
            data = bytearray(self.first)
            for _, op in self.events[:count]:
                _apply(data, op, "written", random.Random(0))
            self.cache[count] = bytes(data)
        return self.cache[count]


class Disk:
    """All crash states of one recording."""

    def __init__(self, recording: Recording) -> None:
        self.ops = recording.ops
        self.files: list[_File] = []
        names: dict[str, int] = {}
        for path, data in recording.files.items():
            names[path] = self._new(data)
        # After each change of names: which file has which name, and which folders there are.
        self.spaces: list[tuple[dict[str, int], frozenset[str]]] = [(names, recording.folders)]
        self._changes: list[tuple[int, set[str]]] = []  # the operation, and the folders whose entries it changed
        self._forced: list[tuple[int, int]] = [(-1, 0)]
        self._acknowledged: list[int] = []
        self._digests: dict[int, bytes] = {}
        self._known: dict[tuple[int, int], list[tuple[int, Op]]] = {}
        for number, op in enumerate(self.ops):
            self._follow(number, op)

    def points(self) -> list[int]:
        """The operations after which a cut leaves more states than before: changes and acknowledgements."""
        return [-1, *(i for i, op in enumerate(self.ops) if op.kind not in ("sync", "syncdir"))]

    def acknowledged(self, point: int) -> int:
        """How many steps were acknowledged before the cut."""
        return sum(at <= point for at in self._acknowledged)

    def cuts(self, draws: int) -> Iterator[Cut]:
        """Every crash point with every prefix of the changes of names, each with at most so many draws."""
        for point in self.points():
            for names in self.prefixes(point):
                for draw in range(draws if self._pending(point, names) else 1):
                    yield Cut(point, names, draw)

    def prefixes(self, point: int) -> range:
        forced = max(count for at, count in self._forced if at <= point)
        made = sum(at <= point for at, _ in self._changes)
        return range(forced, made + 1)

    def state(self, cut: Cut) -> State:
        """Files and folders after that cut."""
        found, _ = self._state(cut)
        return found, self.spaces[cut.names][1]

    def key(self, cut: Cut) -> bytes:
        """Equal for equal states."""
        found, untouched = self._state(cut)
        digest = hashlib.blake2b("\0".join(sorted(self.spaces[cut.names][1])).encode(), digest_size=16)
        for path, data in sorted(found.items()):
            digest.update(f"\0{path}\0".encode())
            digest.update(self._digest(data) if path in untouched else _digest(data))
        return digest.digest()

    def _state(self, cut: Cut) -> tuple[dict[str, bytes], set[str]]:
        """Files after that cut, and which of them are as they certainly are."""
        space, _ = self.spaces[cut.names]
        pending = self._pending(cut.point, cut.names)
        draw = random.Random(f"{cut.point} {cut.names} {cut.draw}")
        chosen = _chosen(len(pending))
        outcomes = chosen[cut.draw] if cut.draw < len(chosen) else draw.choices(OUTCOMES, _SURE, k=len(pending))
        contents: dict[int, bytearray] = {}
        for (number, op), outcome in zip(pending, outcomes, strict=True):
            if number not in contents:
                contents[number] = bytearray(self.files[number].kept(cut.point))
            _apply(contents[number], op, outcome, draw)
        found, untouched = {}, set()
        for path, number in space.items():
            if path.endswith("-shm"):
                if kind := cut.draw % 3:
                    found[path] = bytes(_SHARED_BYTES) if kind == 1 else draw.randbytes(_SHARED_BYTES)
            elif number in contents:
                found[path] = bytes(contents[number])
            else:
                found[path] = self.files[number].kept(cut.point)
                untouched.add(path)
        return found, untouched

    def whole(self, point: int) -> State:
        """All that was done, as the page cache shows it: what a killed process, not a cut, leaves."""
        space, folders = self.spaces[sum(at <= point for at, _ in self._changes)]
        found = {}
        for path, number in space.items():
            if not path.endswith("-shm"):
                data = bytearray(self.files[number].first)
                for at, op in self.files[number].events:
                    if at <= point:
                        _apply(data, op, "written", random.Random(0))
                found[path] = bytes(data)
        return found, folders

    def acknowledgements(self) -> list[int]:
        """The operation of each acknowledgement."""
        return list(self._acknowledged)

    def _digest(self, data: bytes) -> bytes:
        # `data` is kept in the cache of its file, so its identity stays its own.
        if id(data) not in self._digests:
            self._digests[id(data)] = _digest(data)
        return self._digests[id(data)]

    def _pending(self, point: int, names: int) -> list[tuple[int, Op]]:
        """Unsynced events (file, operation) of the files that have a name, in order."""
        if (point, names) not in self._known:
            self._known[point, names] = self._find_pending(point, names)
        return self._known[point, names]

    def _find_pending(self, point: int, names: int) -> list[tuple[int, Op]]:
        found = []
        for path, number in self.spaces[names][0].items():
            if not path.endswith("-shm"):
                found += [(at, number, op) for at, op in self.files[number].pending(point)]
        return [(number, op) for _, number, op in sorted(found, key=lambda event: event[0])]

    def _new(self, data: bytes = b"") -> int:
        self.files.append(_File(data))
        return len(self.files) - 1

    def _follow(self, number: int, op: Op) -> None:
        space, folders = self.spaces[-1]
        if op.kind == ACKNOWLEDGED:
            self._acknowledged.append(number)
        elif op.kind in ("write", "truncate", "allocate"):
            self.files[space[op.path]].events.append((number, op))
        elif op.kind == "sync":
            if op.path in space:
                file = self.files[space[op.path]]
                file.synced.append((number, len(file.events)))
        elif op.kind == "syncdir":
            touching = [i for i, (_, changed) in enumerate(self._changes) if op.path in changed]
            self._forced.append((number, max(self._forced[-1][1], touching[-1] + 1 if touching else 0)))
        else:
            self._rename_or_so(number, op, dict(space), set(folders))

    def _rename_or_so(self, number: int, op: Op, space: dict[str, int], folders: set[str]) -> None:
        changed = {_parent(op.path)}
        if op.kind == "create":
            space[op.path] = self._new()
        elif op.kind == "unlink":
            space.pop(op.path)
        elif op.kind == "mkdir":
            folders.add(op.path)
        elif op.kind == "rmdir":
            folders.discard(op.path)
        elif op.kind == "rename":
            changed.add(_parent(op.other))
            for path in [p for p in space if p == op.path or p.startswith(f"{op.path}/")]:
                space[op.other + path[len(op.path) :]] = space.pop(path)
            for path in [p for p in folders if p == op.path or p.startswith(f"{op.path}/")]:
                folders.discard(path)
                folders.add(op.other + path[len(op.path) :])
        else:
            raise ValueError(op.kind)
        self.spaces.append((space, frozenset(folders)))
        self._changes.append((number, changed))


def put(state: State, root: Path) -> None:
    """Write that state below `root`, which must not exist."""
    files, folders = state
    for folder in sorted(folders):
        (root / folder).mkdir(parents=True)
    for path, data in files.items():
        (root / path).write_bytes(data)


def _chosen(count: int) -> list[list[str]]:
    """The outcomes that are always tried: all alike, one alone written, one alone missing, the last one torn."""
    if not count:
        return [[]]
    found = [[kind] * count for kind in ("written", "dropped", "zeros", "garbage")]
    some = sorted({0, count // 2, count - 1})
    for i in some:
        found.append(["written" if j == i else "dropped" for j in range(count)])
        found.append(["dropped" if j == i else "written" for j in range(count)])
        found.append(["torn" if j == i else "written" for j in range(count)])
        found.append(["garbage" if j == i else "written" for j in range(count)])
    return list(map(list, dict.fromkeys(map(tuple, found))))


def _apply(data: bytearray, op: Op, outcome: str, draw: random.Random) -> None:
    if op.kind in ("truncate", "allocate"):
        if outcome in ("written", "torn", "zeros") or (outcome == "mixed" and draw.random() < 0.5):
            if op.kind == "truncate":
                del data[op.size :]
            data.extend(bytes(op.size - len(data)))
        return
    if outcome == "dropped":
        return
    end = op.offset + len(op.data)
    had = len(data)
    data.extend(bytes(max(0, end - had)))
    if outcome == "written":
        data[op.offset : end] = op.data
        return
    start = op.offset
    sectors = []
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        sectors.append((start, stop))
        start = stop
    written = draw.randrange(len(sectors) + 1) if outcome == "torn" else 0
    for i, (start, stop) in enumerate(sectors):
        kind = outcome
        if outcome == "torn":
            kind = "written" if i < written else "dropped"
        elif outcome == "mixed":
            kind = draw.choice(("written", "dropped", "zeros", "garbage"))
        if kind == "written":
            data[start:stop] = op.data[start - op.offset : stop - op.offset]
        elif kind == "zeros":
            data[start:stop] = bytes(stop - start)
        elif kind == "garbage":
            data[start:stop] = draw.randbytes(stop - start)
    if outcome == "torn" and draw.random() < 0.5:  # the file did not grow beyond what was written
        stop = sectors[written - 1][1] if written else op.offset
        del data[max(had, stop) :]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
