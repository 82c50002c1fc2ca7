"""Heads: the small trainable maps from features to classes or targets, as rows of a table."""

from __future__ import annotations

from edgetl_runtime.heads.anchored import AnchoredHead, fit_anchored
from edgetl_runtime.heads.anchored_targets import fit_anchored_targets
from edgetl_runtime.heads.calibration import calibrated
from edgetl_runtime.heads.multitask import MultiHead, TaskStatistics
from edgetl_runtime.heads.protocol import Evidence, Explanation, Head
from edgetl_runtime.heads.random_layer import RandomReLU, random_layer
from edgetl_runtime.heads.regression import Regressor, angle_targets, angles_of
from edgetl_runtime.heads.stream import StreamingSoftmax
from edgetl_runtime.heads.table import HEADS, HeadRow, fit_head, fit_regressor, load_head, load_regressor
from edgetl_runtime.heads.target_head import TargetHead, target_head

__all__ = [
    "HEADS",
    "AnchoredHead",
    "Evidence",
    "Explanation",
    "Head",
    "HeadRow",
    "MultiHead",
    "RandomReLU",
    "Regressor",
    "StreamingSoftmax",
    "TargetHead",
    "TaskStatistics",
    "angle_targets",
    "angles_of",
    "calibrated",
    "fit_anchored",
    "fit_anchored_targets",
    "fit_head",
    "fit_regressor",
    "load_head",
    "load_regressor",
    "random_layer",
    "target_head",
]
