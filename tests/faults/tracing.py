"""What a process really did to a folder: its system calls, recorded by strace, as a list of operations.

Every data byte is in the record, so the folder can be built again as it was after any of them. Calls that could
change a file in a way that is not modelled are refused, not overlooked; `Recording.final` is compared with the
real folder by those who record.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ACKNOWLEDGED", "Op", "Recording", "TraceError", "contents", "python_path", "record", "strace_missing"]

ACKNOWLEDGED = "ack"
REPO = Path(__file__).resolve().parents[2]
_CALLS = (
    "openat,open,creat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "sync_file_range,sync,syncfs,msync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,"
    "symlink,symlinkat,copy_file_range,sendfile,splice,lseek,dup,dup2,dup3,mmap,io_uring_setup,chdir"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(?:<([^>]*)>)?(\(deleted\))?(?: .*)?$", re.S)
_DESCRIPTOR = re.compile(r"^(-?\d+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?$")


class TraceError(Exception):
    """The trace holds something that cannot be modelled: the harness is wrong, not the code under test."""


@dataclass(frozen=True)
class Op:
    """One change. `kind`: create, write, truncate, allocate, sync, syncdir, rename, unlink, mkdir, rmdir or ack.

    Paths are relative to the recorded root, "" is the root itself.
    """

    kind: str
    path: str = ""
    other: str = ""
    offset: int = 0
    data: bytes = b""
    size: int = 0


@dataclass(frozen=True)
class Recording:
    """The files of a folder at first, and everything that was done to it after."""

    files: dict[str, bytes]
    folders: frozenset[str]
    ops: tuple[Op, ...]


def strace_missing() -> str:
    """Why nothing can be recorded here, or ""."""
    if shutil.which("strace") is None:
        return "no strace here (Debian: apt install strace)"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()}"


def record(arguments: Sequence[str], root: Path, work: Path, **environment: str) -> Recording:
    """Run `python -m ARGUMENTS` and record what it does below `root`; acknowledgements are its writes to $ACKS.

    The strace option --seccomp-bpf is not used: with it strace 6.1 sees the same calls, but was seen to skip faults.
    """
    files, folders = contents(root)
    trace, acks = work / "trace", work / "acks"
    for path in (trace, acks):
        path.unlink(missing_ok=True)
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), "ACKS": str(acks), **environment}
    command = ["strace", "-f", "-y", "-xx", "-s", str(64 << 20), "-e", f"trace={_CALLS}", "-e", "signal=none"]
    done = subprocess.run(
        [*command, "-o", str(trace), sys.executable, "-m", *arguments],
        env=variables, cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise TraceError(f"{arguments} ended with {done.returncode}: {done.stderr}")
    ops = tuple(_operations(_calls(trace), root, acks, set(files), set(folders)))
    trace.unlink()
    return Recording(files, folders, ops)


def python_path() -> str:
    return os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])


def contents(root: Path) -> tuple[dict[str, bytes], frozenset[str]]:
    """All files below `root` by relative path, and all folders, "" being the root itself when it is there."""
    files, folders = {}, set()
    if root.is_dir():
        folders.add("")
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            folders.add(name)
        else:
            files[name] = path.read_bytes()
    return files, frozenset(folders)


def _calls(trace: Path) -> Iterator[tuple[str, list[str], int, str]]:
    """Name, arguments, result and path of the result of each call that succeeded, in the order of their end."""
    begun: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            match = _LINE.match(line.rstrip("\n"))
            if match is None or match[2][:3] in ("+++", "---"):
                continue
            thread, text = match[1], match[2]
            if text.endswith("<unfinished ...>"):
                begun[thread] = text[: -len("<unfinished ...>")]
                continue
            resumed = re.match(r"^<\.\.\. \w+ resumed>(.*)$", text, re.S)
            if resumed is not None:
                text = begun.pop(thread) + resumed[1]
            call = _CALL.match(text)
            if call is None:
                raise TraceError(f"not understood: {text[:200]}")
            if call[3] == "?" or call[3].startswith("-"):
                continue
            yield call[1], _split(call[2]), int(call[3], 0), call[4] or ""


def _split(arguments: str) -> list[str]:
    parts, depth, quoted, start = [], 0, False, 0
    for i, letter in enumerate(arguments):
        if letter == '"':  # every byte of a string is hexadecimal, so none is escaped
            quoted = not quoted
        elif not quoted and letter in "[{(":
            depth += 1
        elif not quoted and letter in ")}]":
            depth -= 1
        elif letter == "," and not quoted and depth == 0:
            parts.append(arguments[start:i].strip())
            start = i + 1
    return [*parts, arguments[start:].strip()]


def _operations(
    calls: Iterator[tuple[str, list[str], int, str]], root: Path, acks: Path, files: set[str], folders: set[str]
) -> Iterator[Op]:
    inside = Paths(root)
    offsets: dict[int, int] = {}
    for name, arguments, result, result_path in calls:
        if name in ("openat", "open", "creat"):
            path = _bytes(arguments[1 if name == "openat" else 0]).decode()
            flags = arguments[2 if name == "openat" else 1].split("|") if name != "creat" else ["O_CREAT", "O_TRUNC"]
            relative = inside.relative((result_path and _unescape(result_path).decode()) or path)
            offsets[result] = 0
            if relative is None:
                continue
            if path != str(acks) and {"O_APPEND", "O_TMPFILE", "O_SYNC", "O_DSYNC"} & set(flags):
                raise TraceError(f"{path} is opened with {flags}, which is not modelled")
            if "O_CREAT" in flags and relative not in files:
                files.add(relative)
                yield Op("create", relative)
            elif "O_TRUNC" in flags:
                yield Op("truncate", relative, size=0)
        elif name == "lseek":
            descriptor, _ = _target(arguments[0])
            offsets[descriptor] = result
        elif name in ("write", "pwrite64"):
            descriptor, path = _target(arguments[0])
            if path == str(acks):
                yield Op(ACKNOWLEDGED, data=_bytes(arguments[1]))
                continue
            relative = inside.relative(path)
            if relative is None:
                continue
            data = _bytes(arguments[1])[:result]
            at = offsets[descriptor] if name == "write" else int(arguments[3])
            if name == "write":
                offsets[descriptor] += result
            if relative in files:  # else it has no name any more, and nobody can read it after a cut
                yield Op("write", relative, offset=at, data=data)
        elif name in ("fsync", "fdatasync"):
            relative = inside.relative(_target(arguments[0])[1])
            if relative is not None:
                yield Op("syncdir" if relative in folders else "sync", relative)
        elif name in ("sync", "syncfs"):
            raise TraceError(f"{name} is not modelled")
        elif name in ("ftruncate", "truncate"):
            path = _target(arguments[0])[1] if name == "ftruncate" else _bytes(arguments[0]).decode()
            relative = inside.relative(path)
            if relative is not None and relative in files:
                yield Op("truncate", relative, size=int(arguments[1]))
        elif name == "fallocate" and arguments[1] == "0":
            relative = inside.relative(_target(arguments[0])[1])
            if relative is not None and relative in files:
                yield Op("allocate", relative, size=int(arguments[2]) + int(arguments[3]))
        elif name in ("rename", "renameat", "renameat2"):
            names = arguments[:2] if name == "rename" else [arguments[1], arguments[3]]
            one, other = (inside.relative(_bytes(a).decode()) for a in names)
            if (one is None) != (other is None):
                raise TraceError(f"renamed across the root: {names}")
            if one is not None and other is not None:
                _rename(one, other, files, folders)
                yield Op("rename", one, other)
        elif name in ("unlink", "unlinkat", "rmdir"):
            folder = name == "rmdir" or (name == "unlinkat" and "AT_REMOVEDIR" in arguments[2])
            relative = inside.relative(_at(name, arguments))
            if relative is not None:
                (folders if folder else files).discard(relative)
                yield Op("rmdir" if folder else "unlink", relative)
        elif name in ("mkdir", "mkdirat"):
            relative = inside.relative(_at(name, arguments))
            if relative is not None:
                folders.add(relative)
                yield Op("mkdir", relative)
        elif name == "mmap":
            if "MAP_SHARED" in arguments[3] and "PROT_WRITE" in arguments[2]:
                relative = inside.relative(_target(arguments[4])[1])
                if relative is not None and not relative.endswith("-shm"):
                    raise TraceError(f"{relative} is written through shared memory")
        elif name in ("close", "dup", "dup2", "dup3"):
            pass
        elif name == "chdir" or any(inside.relative(path) is not None for path in _named(arguments)):
            raise TraceError(f"{name}({', '.join(a[:80] for a in arguments)}) is not modelled")


@dataclass(frozen=True)
class Paths:
    """Absolute paths as relative ones below a root."""

    root: Path

    def relative(self, path: str) -> str | None:
        """None outside the root."""
        if not path.startswith("/"):
            return None  # children never change their folder, and theirs is outside
        full = os.path.normpath(path)
        if full == str(self.root):
            return ""
        return full[len(str(self.root)) + 1 :] if full.startswith(f"{self.root}/") else None


def _rename(one: str, other: str, files: set[str], folders: set[str]) -> None:
    for names in (files, folders):
        for name in [n for n in names if n == one or n.startswith(f"{one}/")]:
            names.discard(name)
            names.add(other + name[len(one) :])


def _at(name: str, arguments: list[str]) -> str:
    if not name.endswith("at"):
        return _bytes(arguments[0]).decode()
    path = _bytes(arguments[1]).decode()
    if path.startswith("/"):
        return path
    match = re.match(r"^(?:AT_FDCWD|\d+)<(.*)>$", arguments[0])  # shutil.rmtree names files below an open folder
    if match is None:
        raise TraceError(f"{name} beside an unknown folder: {arguments[0]}")
    return f"{_unescape(match[1]).decode()}/{path}"


def _target(argument: str) -> tuple[int, str]:
    """A descriptor and its path; the path of a deleted file is ""."""
    match = _DESCRIPTOR.match(argument)
    if match is None:
        return int(re.match(r"-?\d+", argument)[0]), ""  # type: ignore[index]
    return int(match[1]), "" if match[3] else _unescape(match[2]).decode(errors="replace")


def _named(arguments: list[str]) -> Iterator[str]:
    for argument in arguments:
        for escaped in re.findall(r"((?:\\x[0-9a-f]{2})+)", argument):
            yield _unescape(escaped).decode(errors="replace")


def _bytes(argument: str) -> bytes:
    if not argument.startswith('"') or not argument.endswith('"'):
        raise TraceError(f"a text was cut: {argument[:80]}...{argument[-20:]}")
    return _unescape(argument[1:-1])


def _unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
