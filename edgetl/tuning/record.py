"""What is left of a run beside its weights: NAME.safetensors, and NAME.tuning.json with how it came about."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.bundle.container import replace_file
from edgetl_runtime.errors import SourceError
from edgetl_runtime.out_files import checked_out

if TYPE_CHECKING:
    from edgetl.tuning.choice import Choice
    from edgetl.tuning.comparison import Comparison
    from edgetl.tuning.finetuning import Tuned

__all__ = ["checked_weights", "record_of", "record_path", "save_tuned"]

FORMAT = 1


def record_path(weights: str | Path) -> Path:
    """Where the record of these weights lies: NAME.tuning.json beside NAME.safetensors."""
    return Path(weights).with_suffix(".tuning.json")


def save_tuned(tuned: Tuned, out: str | Path, command: Sequence[str] | None = None) -> Path:
    """Write the weights to `out`, NAME.safetensors, and their record beside it, whose path is returned.

    `command` is what the user typed, where they did. Raises SourceError: another suffix, no such folder, a disk that
    does not take it, or an ONNX graph, whose weights stay as they are.
    """
    from safetensors.torch import save

    path = checked_weights(out)
    assert path is not None
    module = tuned.extractor.module
    if module is None:
        raise SourceError(f"{tuned.extractor.name} is an ONNX graph, and its weights stay as they are; leave --out")
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    data = save(state, metadata={"finetune": json.dumps(tuned.extractor.provenance["finetune"])})
    weights = {"file": path.name, "sha256": hashlib.sha256(data).hexdigest()}
    replace_file(path, data)
    text = json.dumps({**record_of(tuned, command), "weights": weights}, indent=1, allow_nan=False)
    replace_file(record_path(path), text.encode())
    return record_path(path)


def checked_weights(out: str | Path | None) -> Path | None:
    """That path, where weights can be written to it; raises SourceError before any work is done."""
    if out is not None and Path(out).suffix != ".safetensors":
        raise SourceError(f"--out is a .safetensors file; got {out}")
    return None if out is None else checked_out(out)


def record_of(tuned: Tuned, command: Sequence[str] | None = None) -> dict[str, Any]:
    """The record of a run as plain data; `edgetl.tuning` says what its fields are."""
    import torch

    import edgetl

    made = tuned.extractor.provenance["finetune"]
    versions = {
        "edgetl": edgetl.__version__, "torch": torch.__version__, "numpy": np.__version__,
        "python": platform.python_version(),
    }  # fmt: skip
    return {
        "format": FORMAT,
        "network": tuned.extractor.name,
        "recipe": tuned.name,
        "settings": asdict(tuned.recipe),
        "seed": made["seed"],
        "data": {"name": made["data_name"], "hash": made["data"]},
        "epoch": list(range(1, len(tuned.epochs) + 1)),
        "training_loss": [one.loss for one in tuned.epochs],
        "validation_loss": [one.validation_loss for one in tuned.epochs],
        "validation_right": [one.score for one in tuned.epochs],
        "rate": [one.rate for one in tuned.epochs],
        "step_loss": list(tuned.losses),
        "kept_epoch": None if tuned.kept_epoch is None else tuned.kept_epoch + 1,
        "comparison": None if tuned.comparison is None else _compared(tuned.comparison),
        "tasks": {name: _compared(one) for name, one in tuned.tasks.items()},
        "choice": None if tuned.choice is None else _chosen(tuned.choice),
        "seconds": tuned.seconds,
        "command": None if command is None else list(command),
        "versions": versions,
    }


def _compared(comparison: Comparison) -> dict[str, Any]:
    plain = asdict(comparison)
    plain["recipe"] = plain.pop("tuned")
    plain["score"] = "r2" if list(comparison.frozen) == ["ridge"] else "right"
    plain["warnings"] = list(comparison.warnings)
    return plain


def _chosen(choice: Choice) -> dict[str, Any]:
    trials = [asdict(one) for one in choice.trials]
    return {"scores": choice.scores, "seconds": choice.seconds, "why": choice.why, "trials": trials}
