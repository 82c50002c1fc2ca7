"""A Python environment without torch for the device of the demo, made once and used again."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import edgetl_runtime

from edgetl.errors import DemoError

__all__ = ["device_python", "runtime_requirement"]

_log = logging.getLogger(__name__)


def device_python(folder: Path) -> tuple[Path, bool]:
    """(interpreter, made anew) of an environment at `folder` that has edgetl-runtime[onnxruntime] and no torch.

    The runtime comes from where this process has it: its source folder, its wheel, or the package index.
    What is there already is used again while neither Python nor the runtime changed. Raises DemoError.
    """
    python = folder / "bin" / "python"
    stamp = folder / "edgetl-demo.stamp"
    wanted = _identity()
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python, False
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DemoError(
            f"cannot make a Python environment at {folder}: {error}; give the interpreter of one that has"
            f" edgetl-runtime[onnxruntime] with --device-python"
        ) from error
    requirement = runtime_requirement()
    _log.info("installing %s into %s", requirement, folder)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DemoError(
            f"cannot install {requirement} for the device: {said}; see to the package index, or give the"
            f" interpreter of an environment that has it with --device-python"
        )
    stamp.write_text(wanted, encoding="utf-8")
    return python, True


def runtime_requirement() -> str:
    """What to ask pip for: the source folder or wheel that this edgetl_runtime came from, else its version."""
    found = distribution("edgetl-runtime")
    origin = json.loads(found.read_text("direct_url.json") or "{}").get("url", "")
    if origin.startswith("file:"):
        path = Path(url2pathname(urlparse(origin).path))
        if path.exists():
            return f"edgetl-runtime[onnxruntime] @ {path.as_uri()}"
    return f"edgetl-runtime[onnxruntime]=={found.version}"


def _identity() -> str:
    """Changes when the interpreter or any file of the runtime does."""
    root = Path(edgetl_runtime.__file__).parent
    digest = hashlib.sha256(f"{sys.version}\0{sys.prefix}\0{runtime_requirement()}".encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
