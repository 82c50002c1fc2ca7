"""Following the domain without labels: challengers for the guard, never a change by themselves."""

from __future__ import annotations

from edgetl_runtime.adapt.buffer import Buffer
from edgetl_runtime.adapt.calibration import recalibrated
from edgetl_runtime.adapt.choosing import chosen
from edgetl_runtime.adapt.fitness import Fitness, fitness, unfit
from edgetl_runtime.adapt.loading import is_adapted, load_adapted
from edgetl_runtime.adapt.maps import FeatureMap
from edgetl_runtime.adapt.policy import POLICY, Challengers, PolicyRow, challengers
from edgetl_runtime.adapt.questions import QuestionBudget, Questions, choose_questions, estimated_mean
from edgetl_runtime.adapt.situation import Adapted, Adapter, Situation
from edgetl_runtime.adapt.table import ADAPTERS, AdapterRow, adapt
from edgetl_runtime.adapt.unknowns import Cluster, Likeness, clusters
from edgetl_runtime.heads.calibration import Calibration, fit_calibration

__all__ = [
    "ADAPTERS",
    "POLICY",
    "Adapted",
    "Adapter",
    "AdapterRow",
    "Buffer",
    "Calibration",
    "Challengers",
    "Cluster",
    "FeatureMap",
    "Fitness",
    "Likeness",
    "PolicyRow",
    "QuestionBudget",
    "Questions",
    "Situation",
    "adapt",
    "challengers",
    "choose_questions",
    "chosen",
    "clusters",
    "estimated_mean",
    "fit_calibration",
    "fitness",
    "is_adapted",
    "load_adapted",
    "recalibrated",
    "unfit",
]
