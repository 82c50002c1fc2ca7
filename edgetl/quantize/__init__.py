"""Extractors in INT8 and float16: calibration, recipes, and how much of what float32 decides they keep."""

from __future__ import annotations

from edgetl.quantize.fidelity import Fidelity, Judge, Limits
from edgetl.quantize.graph import prepare
from edgetl.quantize.half import half_graph
from edgetl.quantize.int8 import CALIBRATION_SAMPLES, calibrate, choose_calibration
from edgetl.quantize.ladder import Descent, descend
from edgetl.quantize.recipes import PRECISIONS, Precision

__all__ = [
    "CALIBRATION_SAMPLES",
    "PRECISIONS",
    "Descent",
    "Fidelity",
    "Judge",
    "Limits",
    "Precision",
    "calibrate",
    "choose_calibration",
    "descend",
    "half_graph",
    "prepare",
]
