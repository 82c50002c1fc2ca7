"""Can this machine run edgetl, and if not, what is missing and which command gets it?"""

from __future__ import annotations

import platform
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from edgetl_runtime.board import BoardFacts, read_board
from edgetl_runtime.doctor.software import (
    REQUIRED,
    EngineState,
    Library,
    engine_states,
    find_library,
    glibc_version,
    python_is_isolated,
    sqlite_version,
)
from edgetl_runtime.doctor.storage import NETWORK, VOLATILE, StateFolder, examine_state_folder
from edgetl_runtime.engines import ENGINES
from edgetl_runtime.errors import SourceError

__all__ = ["Diagnosis", "Finding", "diagnose"]

_PYTHON_OUT_OF_REACH = "3.6"  # of JetPack 4
_LEAST_SQLITE = (3, 31)  # of JetPack 5, the oldest that is tested
_LEAST_FREE_BYTES = 64 << 20
# The second sends data to a service on the network; it runs no model here.
_CPU_PROVIDERS = {"CPUExecutionProvider", "AzureExecutionProvider"}


@dataclass(frozen=True)
class Finding:
    """Something wrong. With a `problem` edgetl cannot run here; with a warning it does, worse than it could.

    `command` is what to type, None where no command helps.
    """

    severity: str
    what: str
    command: Optional[str] = None


@dataclass(frozen=True)
class Diagnosis:
    """A machine, its software and its state folder, and what is wrong with them."""

    board: BoardFacts
    python: str
    machine: str
    glibc: Optional[str]
    libraries: Tuple[Library, ...]
    engines: Tuple[EngineState, ...]
    sqlite: Optional[str]
    state: StateFolder
    findings: Tuple[Finding, ...]

    @property
    def can_run(self) -> bool:
        """Whether nothing found is a problem."""
        return all(finding.severity != "problem" for finding in self.findings)


def diagnose(state: str, root: str = "/") -> Diagnosis:
    """Examine this machine and its state folder; the board's files are read under `root`, Python is this one.

    Raises SourceError when there is no such root.
    """
    if not Path(root).is_dir():
        raise SourceError(f"there is no folder {root}; --root takes one that holds the files of a board")
    board = read_board(root)
    libraries = tuple(map(find_library, [*REQUIRED, "cryptography"]))
    engines = engine_states()
    sqlite, folder = sqlite_version(), examine_state_folder(state)
    findings = [
        *_board_findings(board),
        *_library_findings(libraries, sqlite),
        *_engine_findings(board, engines),
        *_state_findings(folder),
    ]
    findings.sort(key=lambda finding: finding.severity != "problem")
    return Diagnosis(
        board, platform.python_version(), platform.machine(), glibc_version(), libraries, engines, sqlite, folder,
        tuple(findings),
    )  # fmt: skip


def _board_findings(board: BoardFacts) -> List[Finding]:
    found = []
    row, release, power = board.identity.row, board.release, board.power
    if row is None:
        found.append(Finding("warning", f"{board.identity.because}: no budgets and no order of engines are known"))
    python = release.python if release else None
    native = row is not None and row.reach == "native" and python != _PYTHON_OUT_OF_REACH
    if row is not None and not native:
        found.append(
            Finding(
                "warning",
                f"the system of this {row.name} has Python {_PYTHON_OUT_OF_REACH}, out of reach of edgetl-runtime"
                " (3.8 and later): run it in a container, on the CPU",
            )
        )
    if release and release.jetpack is None:
        found.append(Finding("warning", f"Jetson Linux {release.jetson_linux} is in no table of JetPacks"))
    ours = "{}.{}".format(*sys.version_info[:2])
    if native and python and python != ours:
        what = f"this is Python {ours}; the TensorRT of this JetPack is built for the system's {python}"
        found.append(Finding("warning", what, f"python{python} -m venv --system-site-packages .venv"))
    if power and power.current and power.default and power.current != power.default:
        found.append(
            Finding("warning", f"power mode is {power.current}, and {power.default} again after the next start")
        )
    for zone in board.zones:
        slows = min((trip.celsius for trip in zone.trips if trip.kind == "passive"), default=None)
        if slows is not None and zone.celsius is not None and zone.celsius >= slows:
            what = f"{zone.name} is at {zone.celsius:.0f} C: the board slows down from {slows:.0f}"
            found.append(Finding("warning", what))
    return found


def _library_findings(libraries: Tuple[Library, ...], sqlite: Optional[str]) -> List[Finding]:
    found = []
    for library in libraries:
        if library.found:
            continue
        if library.name in REQUIRED:
            found.append(Finding("problem", f"{library.name} is not installed", f"pip install {library.name}"))
        else:
            found.append(
                Finding(
                    "warning",
                    f"{library.name} is not installed: no signature can be checked, only unsigned bundles opened",
                    "pip install 'edgetl-runtime[sign]'",
                )
            )
    if sqlite is None:
        found.append(Finding("problem", "this Python was built without sqlite3; use the system's own"))
    elif tuple(int(part) for part in sqlite.split(".")[:2]) < _LEAST_SQLITE:
        found.append(Finding("problem", f"SQLite is {sqlite}; 3.31 or later is needed"))
    return found


def _engine_findings(board: BoardFacts, engines: Tuple[EngineState, ...]) -> List[Finding]:
    by_name = {engine.name: engine for engine in engines}
    row = board.identity.row
    jetson = (board.identity.soc or "").startswith("tegra")
    if not any(engine.adapted and engine.problem is None for engine in engines):
        missed = [by_name[name] for name in (row.engines if row else by_name) if by_name[name].adapted]
        return [Finding("problem", f"{engine.name}: {engine.problem}", _command(engine, jetson)) for engine in missed]
    found = []
    for name in row.engines if row else ():
        engine = by_name[name]
        if engine.adapted and engine.problem is None:
            break  # the best that can serve; those behind it are not missed
        if engine.problem is None:
            what = f"{name} {engine.version} is here, but this version of edgetl-runtime has no adapter for it"
            found.append(Finding("warning", what))
        elif engine.adapted or engine.found:
            found.append(
                Finding("warning", f"{name} comes first on this board: {engine.problem}", _command(engine, jetson))
            )
    providers = set(by_name["onnxruntime"].providers)
    if row is not None and "tensorrt" in row.engines and providers and providers <= _CPU_PROVIDERS:
        found.append(Finding("warning", "this build of onnxruntime has no provider for the GPU: it serves on the CPU"))
    return found


def _command(engine: EngineState, jetson: bool) -> Optional[str]:
    if engine.name == "tensorrt":
        if not jetson:
            return "pip install tensorrt"
        # A part of JetPack, for the system's Python: that version is what the rest of the board is built for.
        also = " && python3 -m venv --system-site-packages .venv" if python_is_isolated() else ""
        return "sudo apt install python3-libnvinfer" + also
    if engine.name in ENGINES:
        how = ENGINES[engine.name].how
        return how.replace("pip install", "pip install --force-reinstall") if engine.found else how
    return None


def _state_findings(folder: StateFolder) -> List[Finding]:
    found = []
    if folder.problem:
        command = f"sudo install -d -o $(id -un) {shlex.quote(folder.path)}"
        found.append(Finding("problem", f"the state folder: {folder.problem}", command))
    if folder.free_bytes is not None and folder.free_bytes < _LEAST_FREE_BYTES:
        found.append(Finding("problem", f"{folder.free_bytes >> 20} MB free for the state; 64 are the least"))
    if folder.file_system in NETWORK:
        found.append(
            Finding("problem", f"the state lies on {folder.file_system}: its database needs a local file system")
        )
    elif folder.file_system in VOLATILE:
        found.append(
            Finding(
                "warning",
                f"the state lies on {folder.file_system}: what is learnt goes with the power"
                " (or with the container, where it is no volume)",
            )
        )
    return found
