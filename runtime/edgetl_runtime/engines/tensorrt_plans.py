"""Plans that TensorRT built here, kept for the next start: a private cache that is never trusted.

A plan is executable code for one TensorRT version and one GPU, and TensorRT does not notice when it was tampered
with (its "Security Considerations"). So the folder belongs to this user alone, a side file holds the key and the
hash, and a plan that differs in anything is deleted and built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any, Dict, Optional

from edgetl_runtime.engines.tensorrt_builder import BuildOptions
from edgetl_runtime.errors import EngineError

__all__ = ["PlanCache", "plan_key"]

logger = logging.getLogger(__name__)

_ABANDONED_S = 86400.0


def plan_key(onnx_sha256: str, tensorrt_version: str, sm: str, options: BuildOptions) -> Dict[str, Any]:
    """What a plan was made of and for, as plain data: one differing value makes another plan. `sm` is "8.7"."""
    return {"onnx_sha256": onnx_sha256, "tensorrt": tensorrt_version, "sm": sm, "options": options.facts()}


class PlanCache:
    """Plans and timing caches in one folder that only this user may enter. Raises EngineError where it may not be."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise EngineError(f"{folder} must be a folder of this user; plans are executable code. Remove it")
            if stat.S_IMODE(found.st_mode) != 0o700:
                folder.chmod(0o700)
        except OSError as error:
            raise EngineError(f"the folder for plans cannot be used: {error}") from error
        self.folder = folder
        # What a process that was cut off left; another may be building, or keeping a plan, this minute.
        for left in [*folder.glob("*.part"), *folder.glob("build-*")]:
            with contextlib.suppress(OSError):
                if time.time() - left.lstat().st_mtime <= _ABANDONED_S:
                    continue
                shutil.rmtree(str(left)) if left.is_dir() else left.unlink()

    def load_plan(self, key: Dict[str, Any]) -> Optional[bytes]:
        """The plan of that key, byte for byte as it was built here; None when there is none, or none to trust."""
        return self._load(f"{_name(key)}.plan", key)

    def keep_plan(self, key: Dict[str, Any], plan: bytes) -> None:
        """Keep a plan that was built here, through a power cut too: first the plan, then what vouches for it."""
        self._keep(f"{_name(key)}.plan", key, plan)

    def drop_plan(self, key: Dict[str, Any], why: str) -> None:
        """Delete the plan of that key."""
        self._drop(f"{_name(key)}.plan", why)

    def load_timing(self, key: Dict[str, Any]) -> bytes:
        """The timing cache of that TensorRT and GPU, or b"": it only makes builds faster."""
        facts = _timing_facts(key)
        return self._load(f"{_name(facts)}.timing", facts) or b""

    def keep_timing(self, key: Dict[str, Any], timing: bytes) -> None:
        """Keep the timing cache that a build left."""
        facts = _timing_facts(key)
        self._keep(f"{_name(facts)}.timing", facts, timing)

    def _load(self, name: str, key: Dict[str, Any]) -> Optional[bytes]:
        path, side = self.folder / name, self.folder / f"{name}.json"
        if not path.exists() and not side.exists():
            return None
        try:
            for file in (path, side):
                found = file.lstat()
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
                    raise ValueError(f"{file.name} is not a plain file of this user")
            facts = json.loads(side.read_text(encoding="utf-8"))
            contents = path.read_bytes()
            if not isinstance(facts, dict) or facts.get("key") != key:
                raise ValueError("it was built from another graph, for another TensorRT or GPU, or with other options")
            if facts.get("size_bytes") != len(contents):
                raise ValueError(f"it has {len(contents)} bytes, {facts.get('size_bytes')} were written")
            if facts.get("sha256") != hashlib.sha256(contents).hexdigest():
                raise ValueError("its bytes have changed")
        except (OSError, ValueError) as error:
            self._drop(name, str(error))
            return None
        return contents

    def _keep(self, name: str, key: Dict[str, Any], contents: bytes) -> None:
        facts = {"key": key, "size_bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{name}.json").unlink()
        try:
            self._write(name, contents)
            self._write(f"{name}.json", json.dumps(facts, indent=1).encode())
        except OSError as error:
            self._drop(name, str(error))
            raise EngineError(f"{name} cannot be kept in {self.folder}: {error}") from error

    def _write(self, name: str, contents: bytes) -> None:
        part = self.folder / f"{name}.part"
        with open(str(part), "wb", opener=_private) as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / name)
        handle = os.open(str(self.folder), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _drop(self, name: str, why: str) -> None:
        logger.warning("%s is deleted and will be built again: %s", name, why)
        for file in (f"{name}.json", name, f"{name}.part", f"{name}.json.part"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / file).unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _timing_facts(key: Dict[str, Any]) -> Dict[str, Any]:
    return {name: key[name] for name in ("tensorrt", "sm")}


def _name(key: Dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
