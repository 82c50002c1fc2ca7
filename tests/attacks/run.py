"""The corpus, one forked child an attack, under limits of memory, time and file size: `python -m tests.attacks.run`.

All that is needed is loaded before the first fork, so that whatever a child opens, the attack made it open:
under strace (`--trace`) every attack is announced by a look at /attack/NAME.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.opening import open_session
from edgetl_runtime.trust import revoke_key, trust_key

from tests.attacks.corpus import ATTACKS
from tests.attacks.forge import REVOKED, TRUSTED, bundle, key_pair, public_pem

__all__ = ["OPENED", "limits_of", "outside", "prepared", "run_attack", "warm"]

MEMORY_BYTES = 64 << 20  # beside the size of the file itself
TIME_S = 5
OPENED = re.compile(r'(?:open|openat|execve|connect)\((?:[A-Z_]+, )?"([^"]+)"')
# What a library looks at in the machine, whatever the file says.
_MACHINE = ("/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/ld.so.cache", "/etc/localtime")


@contextlib.contextmanager
def prepared(name: str) -> Iterator[Tuple[Path, Path]]:
    """A folder with the attack's file, and a state that trusts one key and has revoked another."""
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    try:
        state = folder / "state"
        for seed in (TRUSTED, REVOKED):
            trust_key(state, public_pem(seed))
        revoke_key(state, key_pair(REVOKED)[2])
        path = folder / "bundle.edgetl"
        attack = ATTACKS[name]
        for file, data in (attack.board or {}).items():
            (folder / "board" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "board" / file).write_bytes(data)
        if attack.installed is not None:
            path.write_bytes(attack.installed())
            with open_session(path, state, threads=1) as session:
                session.confirm()
        path.write_bytes(attack.make())
        yield path, state
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def limits_of(path: Path) -> None:
    """This process may use no more than the file's size and 64 MiB more, five seconds, and write as little."""
    allowed = path.stat().st_size + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_S, TIME_S + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, allowed))
    # Far above what is allowed, so that an overrun is measured and not mistaken for a refusal.
    mapped = _status("VmSize") + allowed + (2 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (mapped, mapped))


def run_attack(name: str) -> Dict[str, Any]:
    """What became of one attack: its error, peak memory beyond the start, seconds, and what it left behind."""
    with prepared(name) as (path, state):
        before = sorted(str(p.relative_to(state)) for p in state.rglob("*"))
        reader, writer = os.pipe()
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _attempt(name, path, state, writer)
        os.close(writer)
        ready, _, _ = select.select([reader], [], [], 2 * TIME_S)
        answer = os.read(reader, 1 << 16) if ready else b""
        if not answer:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        seconds = time.monotonic() - started
        result: Dict[str, Any] = {"error": f"ended by {status}", "message": "", "grown": 0}
        if answer:
            result = json.loads(answer)
        left = [p for p in sorted(str(p.relative_to(state)) for p in state.rglob("*")) if p not in before]
        kept = [p for p in left if p.startswith(("bundles/", "engines/"))]
        size = path.stat().st_size
    over = seconds > TIME_S or result["grown"] > size + MEMORY_BYTES
    return {"name": name, "seconds": seconds, "installed": kept, "over_limit": over, **result}


def outside(trace: List[str], folders: Tuple[str, ...]) -> Dict[str, List[str]]:
    """By attack: the paths that were opened and are none of those folders, of the machine, or of Python."""
    found: Dict[str, List[str]] = {}
    current = None
    allowed = (*folders, *_MACHINE, sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2]), "/usr/lib")
    for line in trace:
        marker = re.search(r'"/attack/(.*?)/(begin|end)"', line)
        if marker:
            current = marker.group(1) if marker.group(2) == "begin" else None
            continue
        opened = OPENED.search(line)
        if current and opened and "ENOENT" not in line and not opened.group(1).startswith(allowed):
            found.setdefault(current, []).append(opened.group(1))
    return found


def _attempt(name: str, path: Path, state: Path, writer: int) -> None:
    answer: Dict[str, Any] = {"error": "", "message": ""}
    try:
        limits_of(path)
        start = _status("VmHWM")
        _mark(name, "begin")
        try:
            board = path.with_name("board")
            root = board if board.exists() else Path("/")
            open_session(path, state, threads=1, board_root=root).close()
        except EdgetlError as error:
            answer = {"error": type(error).__name__, "message": str(error)[:300], "kinds": _kinds(error)}
        except BaseException as error:
            answer = {"error": f"!{type(error).__name__}", "message": str(error)[:300], "kinds": []}
        _mark(name, "end")
        answer["grown"] = max(0, _status("VmHWM") - start)
        os.write(writer, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _kinds(error: EdgetlError) -> List[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _mark(name: str, what: str) -> None:
    with contextlib.suppress(OSError):
        Path(f"/attack/{name.encode('ascii', 'replace').decode().replace('/', '_')}/{what}").stat()


def _status(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(key))) << 10


def warm() -> None:
    """Load every library that a right bundle needs, so that no child loads any."""
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    try:
        trust_key(folder / "state", public_pem(TRUSTED))
        (folder / "right.edgetl").write_bytes(bundle())
        for engine in ("onnxruntime", "openvino"):  # which a device falls back on
            if importlib.util.find_spec(engine):
                open_session(folder / "right.edgetl", folder / "state", threads=1, engine=engine).close()
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def main() -> int:
    """Print one JSON line an attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="attacks to run (default: all)")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warm()
    for name in args.names or list(ATTACKS):
        result = run_attack(name)
        refused = ATTACKS[name].error in result.get("kinds", ())
        print(json.dumps({**result, "refused": refused, "wanted": ATTACKS[name].error}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
