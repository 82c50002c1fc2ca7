"""Where a run stands, on disk: named tensors by safetensors and plain data by JSON, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bundle.container import remove_file, replace_file
from edgetl_runtime.errors import SourceError

from edgetl.errors import TuningError

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoints", "Saved"]

_RECORD = "run.json"


@dataclass(frozen=True)
class Saved:
    """Tensors by name, and `plain`, what JSON can hold."""

    tensors: Mapping[str, torch.Tensor]
    plain: Mapping[str, Any]


class Checkpoints:
    """The folder of one run. `job` says which run it is: another one is refused, and told what differs.

    `run.json` names the file of tensors and its sha256, and is replaced after that file is safe: a kill or a power
    cut leaves the state before or the one after.
    """

    def __init__(self, folder: str | Path, job: Mapping[str, Any], every_s: float = 60.0) -> None:
        self._folder, self._job, self._every_s = Path(folder), dict(job), every_s
        self._last = time.monotonic()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"cannot make the folder {folder} for checkpoints: {error.strerror or error}") from error

    def load(self) -> Saved | None:
        """What was saved last, or None; raises TuningError for another run or damage."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            record = json.loads((self._folder / _RECORD).read_bytes())
            job, plain, file = dict(record["job"]), dict(record["plain"]), str(record["file"])
            data = (self._folder / Path(file).name).read_bytes()  # never a file of another folder
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise TuningError(f"{self._folder} does not hold a run: {error}; name another folder") from error
        if differing := sorted(key for key in self._job if job.get(key) != self._job[key]):
            raise TuningError(
                f"{self._folder} holds another run, which differs in {', '.join(differing)}; name another folder, or "
                "remove this one to start anew"
            )
        damaged = TuningError(f"{self._folder / file} is damaged; remove the folder to start anew")
        if hashlib.sha256(data).hexdigest() != record.get("sha256"):
            raise damaged
        try:
            return Saved(load(data), plain)
        except SafetensorError as error:
            raise damaged from error

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self._every_s

    def save(self, saved: Saved) -> None:
        """Make it what `load` gives; raises SourceError."""
        from safetensors.torch import save

        data = save({name: value.detach().cpu().contiguous() for name, value in saved.tensors.items()})
        digest = hashlib.sha256(data).hexdigest()
        name = f"state-{digest[:16]}.safetensors"
        replace_file(self._folder / name, data)
        record = {"job": self._job, "file": name, "sha256": digest, "plain": dict(saved.plain)}
        replace_file(self._folder / _RECORD, json.dumps(record).encode())
        for path in self._folder.glob("state-*.safetensors"):
            if path.name != name:
                remove_file(path)
        self._last = time.monotonic()
