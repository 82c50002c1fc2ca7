"""Every key of a project file: what it must be, and which option of which command it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "SETTINGS", "Setting", "is_kind"]

# What a value must be, in words.
KINDS: Mapping[str, str] = {
    "text": "text",
    "path": "text, a path that starts at the project file",
    "new path": "text, a path that starts at the project file",
    "whole": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "texts": "a list of texts",
    "figures": "a number, or a list of numbers",
    "pixels": 'a whole number, or "stretch"',
    "table": "a table",
}


@dataclass(frozen=True)
class Setting:
    """One key. `options` maps a command to its option; "" is its argument without a name.

    A "path" must be there when a command needs it, a "new path" is written. `repeated` options come once for each
    item, others join a list by commas.
    """

    kind: str
    options: Mapping[str, str] = field(default_factory=dict)
    repeated: bool = False


def _for(kind: str, option: str, *commands: str, repeated: bool = False, **other: str) -> Setting:
    return Setting(kind, {**dict.fromkeys(commands, option), **other}, repeated)


_ALL = ("build", "finetune", "choose")
_OPENING = ("build", "finetune", "data")  # what opens one network

SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "data": {
        "path": _for("path", "--data", *_ALL, data=""),
        "targets": _for("texts", "--targets", *_ALL),
        "tasks": _for("texts", "--tasks", "build", "finetune"),
        "split": _for("text", "--split", *_ALL, "data"),
        "holdout": _for("number", "--holdout", *_ALL, "data"),
        "seed": _for("whole", "--seed", *_ALL, "data"),
        "images": _for("path", "--images", "data"),
        "device_data": _for("path", "--device-data", "data"),
    },
    "window": {
        "length": _for("whole", "--window", *_ALL),
        "stride": _for("whole", "--stride", *_ALL),
        "rate_hz": _for("number", "--rate-hz", *_ALL),
        "columns": _for("texts", "--columns", *_ALL),
        "resample": _for("text", "--resample", *_ALL),
        "groups": _for("text", "--groups", *_ALL),
        "turn": _for("number", "--turn", "build", "finetune"),
    },
    "network": {
        "backbone": _for("text", "--backbone", *_OPENING),
        "weights": _for("path", "--weights", *_OPENING),
        "output": _for("text", "--output", *_OPENING),
        "mean": _for("figures", "--mean", *_OPENING),
        "scale": _for("figures", "--scale", *_OPENING),
        "size": _for("whole", "--size", *_OPENING),
        "resize": _for("pixels", "--resize", *_OPENING),
        "channels": _for("text", "--channels", *_OPENING),
    },
    "choose": {
        "backbones": _for("texts", "", "choose", repeated=True),
        "precisions": _for("texts", "--precision", "choose"),
        "samples": _for("whole", "--samples", "choose"),
        "bundle": _for("path", "--bundle", "choose"),
        "cache": _for("new path", "--cache", "choose"),
        "out": _for("new path", "--out", "choose"),
    },
    "check": {
        "other": _for("table", "--other", "data", repeated=True),
        "limit": _for("number", "--limit", "data"),
        "out": _for("new path", "--out", "data"),
    },
    "finetune": {
        "recipe": _for("text", "--recipe", "finetune"),
        "candidates": _for("texts", "--candidates", "finetune"),
        "epochs": _for("whole", "--epochs", "finetune"),
        "batch": _for("whole", "--batch", "finetune"),
        "rate": _for("number", "--rate", "finetune"),
        "set": _for("table", "--set", "finetune", repeated=True),
        "quantization_aware": _for("whole", "--quantization-aware", "finetune"),
        "scratch": _for("flag", "--scratch", "finetune"),
        "no_alone": _for("flag", "--no-alone", "finetune"),
        "log": _for("new path", "--log", "finetune"),
        "checkpoints": _for("new path", "--checkpoints", "finetune"),
        "cache": _for("new path", "--cache", "finetune"),
        "out": _for("new path", "--out", "finetune"),
    },
    "build": {
        "out": _for("new path", "--out", "build"),
        "name": _for("text", "--name", "build"),
        "devices": _for("texts", "--device", "build", "choose", repeated=True),
        "precisions": _for("texts", "--precision", "build"),
        "max_drop": _for("number", "--max-drop", "build"),
        "min_agreement": _for("number", "--min-agreement", "build"),
        "quantization_aware": _for("whole", "--quantization-aware", "build"),
        "choice": _for("path", "--choice", "build"),
        "key": _for("path", "--key", "build"),
        "sequence": _for("whole", "--sequence", "build"),
        "head": _for("text", "--head", "build"),
        "task": _for("text", "--task", "build"),
        "class_names": _for("path", "--class-names", "build"),
        "class_vectors": _for("path", "--class-vectors", "build"),
        "class_weight": _for("number", "--class-weight", "build"),
        "background": _for("path", "--background", "build"),
    },
}


def is_kind(value: Any, kind: str) -> bool:
    """Whether a value of TOML is of that kind."""
    # type(), for True is an int to isinstance.
    number = type(value) in (int, float)
    if kind == "figures":
        return number or (isinstance(value, list) and bool(value) and all(type(one) in (int, float) for one in value))
    if kind == "pixels":
        return type(value) is int or value == "stretch"
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    if kind == "number":
        return number
    types: dict[str, type] = {"whole": int, "flag": bool, "table": dict}
    return type(value) is types[kind] if kind in types else isinstance(value, str) and bool(value.strip())
