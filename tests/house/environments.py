"""Interpreters of other versions, virtual environments that are made once, and the wheels that go into them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.house.source import REPO

PROJECTS = {"edgetl": REPO, "edgetl-runtime": REPO / "runtime"}
_CACHE = REPO / "build" / "envs"


def find_python(version: str) -> Path | None:
    """An interpreter of that version ("3.8") that really starts: on PATH, or among pyenv's versions."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{version}")
    candidates = [Path(on_path)] if on_path else []
    candidates += sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)
    probe = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for path in candidates:
        done = subprocess.run([path, "-c", probe], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return path
    return None


def run(command: Sequence[str | Path], **options: object) -> str:
    """Standard output of a command that must succeed; otherwise an AssertionError with all it said."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        **options,  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}"
    return str(done.stdout)


def clean_environment(python: Path, **more: str) -> dict[str, str]:
    """Variables for a process of that interpreter: nothing of ours leaks in but the whereabouts of the data."""
    default = REPO.parent / "shared" / "data"
    return {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "EDGETL_DATA": str(Path(os.environ.get("EDGETL_DATA", default)).resolve()),
        **more,
    }


def build_wheel(distribution: str, folder: Path) -> Path:
    """One wheel, built by the backend that pyproject.toml names, without fetching anything."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*command, "--wheel-dir", folder, PROJECTS[distribution]])
    (wheel,) = folder.glob("*.whl")
    return wheel


@contextlib.contextmanager
def environment(name: str, python: Path, requirements: Sequence[str], wheel: Path) -> Iterator[Path]:
    """The interpreter of a venv holding the requirements and that wheel; ours alone while the block lasts.

    Kept under build/envs, by a hash of what it is made of: only the wheel is installed afresh.
    """
    key = hashlib.sha256("\n".join([str(python.resolve()), *sorted(requirements)]).encode()).hexdigest()[:12]
    folder = _CACHE / f"{name}-{key}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for old in _CACHE.glob(f"{name}-*"):
                shutil.rmtree(old)
            run([python, "-m", "venv", folder])
            pip_install(folder / "bin" / "python", *requirements)
            (folder / "ready").touch()
        inside = folder / "bin" / "python"
        pip_install(inside, "--no-deps", "--force-reinstall", wheel)
        yield inside


def pip_install(python: Path, *what: str | Path) -> None:
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], cwd=_CACHE)
