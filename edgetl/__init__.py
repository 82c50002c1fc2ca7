"""edgetl, the host side: take a pretrained network to a robot and let it go on learning there.

import edgetl

extractor = edgetl.extractor("torchvision/mobilenet_v2", weights="weights.safetensors")
tuned = edgetl.finetune(extractor, edgetl.dataset("photos/"))
edgetl.build(tuned, edgetl.dataset("photos/"), out="birds.edgetl")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetl.backbones import extractor
    from edgetl.building.build import build
    from edgetl.building.result import BuildResult
    from edgetl.choosing import choose
    from edgetl.data import Dataset, dataset
    from edgetl.features import Extractor
    from edgetl.project import Project, init_project, read_project
    from edgetl.reporting.build_page import write_report
    from edgetl.tuning import finetune

__version__ = "0.1.0"

__all__ = [
    "BuildResult", "Dataset", "Extractor", "Project", "build", "choose", "dataset", "extractor", "finetune",
    "init_project", "read_project", "write_report",
]  # fmt: skip

# Loaded when first asked for, so that `edgetl --help` is instant.
_HOMES = {
    "BuildResult": "building.result",
    "Dataset": "data",
    "Extractor": "features",
    "Project": "project",
    "build": "building.build",
    "choose": "choosing",
    "dataset": "data",
    "extractor": "backbones",
    "finetune": "tuning",
    "write_report": "reporting.build_page",
    "init_project": "project",
    "read_project": "project",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgetl.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
