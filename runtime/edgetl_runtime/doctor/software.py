"""What Python finds here: libraries by their metadata, engines by asking each in a process of its own.

An engine of the wrong build may crash as it loads, and takes a second to do it: it is never imported here.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from typing import Dict, NamedTuple, Optional, Tuple

from edgetl_runtime.engines import ENGINES

__all__ = [
    "ENGINE_LIBRARIES",
    "REQUIRED",
    "EngineState",
    "Library",
    "engine_states",
    "find_library",
    "glibc_version",
    "python_is_isolated",
    "sqlite_version",
]


class _Names(NamedTuple):
    """Of a library: what is imported, and the distributions that may bring it, best known first."""

    module: str
    distributions: Tuple[str, ...]


REQUIRED: Dict[str, _Names] = {
    "numpy": _Names("numpy", ("numpy",)),
    "pillow": _Names("PIL", ("pillow",)),
    "safetensors": _Names("safetensors", ("safetensors",)),
}
ENGINE_LIBRARIES: Dict[str, _Names] = {
    "onnxruntime": _Names("onnxruntime", ("onnxruntime-gpu", "onnxruntime", "onnxruntime-openvino")),
    "openvino": _Names("openvino", ("openvino",)),
    "tensorrt": _Names("tensorrt", ("tensorrt",)),
}
_SIGN = _Names("cryptography", ("cryptography",))

# Each prints its version and the devices or providers that it can really use, as JSON.
_QUESTIONS = {
    "onnxruntime": "import json, onnxruntime as o; print(json.dumps([o.__version__, o.get_available_providers()]))",
    "openvino": "import json, openvino as o; print(json.dumps([o.__version__, o.Core().available_devices]))",
    "tensorrt": "import json, tensorrt as t; print(json.dumps([t.__version__, []]))",
}
# Else `-c` would look in the current folder first.
_SAME_PATH = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Library:
    """`version` is None where it is not installed, or came without metadata."""

    name: str
    found: bool
    version: Optional[str]


@dataclass(frozen=True)
class EngineState:
    """One engine: `problem` says why it cannot serve, and is None where it can.

    `providers` are those it can really use, as it says itself. `adapted`: this version of the runtime has an
    adapter for it.
    """

    name: str
    found: bool
    version: Optional[str]
    providers: Tuple[str, ...]
    adapted: bool
    problem: Optional[str]


def find_library(name: str) -> Library:
    """Look a library up without importing it."""
    names = {**REQUIRED, **ENGINE_LIBRARIES, "cryptography": _SIGN}[name]
    try:
        found = importlib.util.find_spec(names.module) is not None
    except (ImportError, ValueError):
        found = False
    version = None
    for distribution in names.distributions if found else ():
        try:
            version = importlib.metadata.version(distribution)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return Library(name, found, version)


def engine_states() -> Tuple[EngineState, ...]:
    """Every engine that boards may have, adapted or not, each asked in a process of its own."""
    return tuple(_engine_state(name) for name in ENGINE_LIBRARIES)


def _engine_state(name: str) -> EngineState:
    library = find_library(name)
    adapted = name in ENGINES
    if not library.found:
        return EngineState(name, False, None, (), adapted, "not installed")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SAME_PATH + _QUESTIONS[name], json.dumps(sys.path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return EngineState(name, True, library.version, (), adapted, f"did not load within {_TIMEOUT_S:.0f} s")
    except OSError as error:
        return EngineState(name, True, library.version, (), adapted, f"could not be asked: {error}")
    try:
        version, providers = json.loads(done.stdout.decode("utf-8", "replace").strip().splitlines()[-1])
        return EngineState(name, True, str(version), tuple(map(str, providers)), adapted, None)
    except (IndexError, TypeError, ValueError):
        if done.returncode < 0:
            why = f"crashes as it loads (signal {-done.returncode})"
        else:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = f"does not load: {said[-1] if said else 'it said nothing'}"
        return EngineState(name, True, library.version, (), adapted, why)


def python_is_isolated() -> bool:
    """Whether this is a virtual environment that does not see the packages of the system (TensorRT is one)."""
    return sys.prefix != sys.base_prefix and not any("dist-packages" in path for path in sys.path)


def glibc_version() -> Optional[str]:
    """Of the C library, which decides which wheels install; None on another one."""
    try:
        told = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):
        told = None
    return told.split()[-1] if told else platform.libc_ver()[1] or None


def sqlite_version() -> Optional[str]:
    """Of SQLite, which keeps the state; None where this Python was built without it."""
    try:
        import sqlite3
    except ImportError:
        return None
    return sqlite3.sqlite_version
