"""edgetl-runtime: learns a small head on a frozen network, on the device, with NumPy and one inference engine.

import edgetl_runtime as rt

with rt.open("birds.edgetl", state_dir="state/") as session:
    session.predict(frame).label
    session.learn(frame, "kestrel")      # durable when it returns
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from edgetl_runtime.bundle import Bundle, read_bundle
    from edgetl_runtime.errors import EdgetlError
    from edgetl_runtime.heads import fit_head, fit_regressor
    from edgetl_runtime.opening import open_session as open
    from edgetl_runtime.reservoir import Reservoir
    from edgetl_runtime.session import Session
    from edgetl_runtime.statistics import Statistics
    from edgetl_runtime.types import Output, Prediction, TensorSpec

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "EdgetlError",
    "Output",
    "Prediction",
    "Reservoir",
    "Session",
    "Statistics",
    "TensorSpec",
    "fit_head",
    "fit_regressor",
    "open",
    "read_bundle",
]

# onnxruntime 1.29 and later report to a server and keep a device id, unless this is set before its first session
# (microsoft/onnxruntime #27379, #29843). A device that nobody asked phones nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Loaded when first asked for, so that `import edgetl_runtime` costs next to nothing.
_HOMES = {
    "Bundle": ("bundle", "Bundle"),
    "EdgetlError": ("errors", "EdgetlError"),
    "Output": ("types", "Output"),
    "Prediction": ("types", "Prediction"),
    "Reservoir": ("reservoir", "Reservoir"),
    "Session": ("session", "Session"),
    "Statistics": ("statistics", "Statistics"),
    "TensorSpec": ("types", "TensorSpec"),
    "fit_head": ("heads", "fit_head"),
    "fit_regressor": ("heads", "fit_regressor"),
    "open": ("opening", "open_session"),
    "read_bundle": ("bundle", "read_bundle"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl_runtime' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(f"edgetl_runtime.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted([*globals(), *_HOMES])
