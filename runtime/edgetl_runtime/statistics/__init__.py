"""The additive core: everything that learning accumulates, from which heads follow in closed form."""

from __future__ import annotations

from edgetl_runtime.statistics.accumulate import Statistics
from edgetl_runtime.statistics.classes import ClassSums
from edgetl_runtime.statistics.features import checked_features
from edgetl_runtime.statistics.moments import Moments, TargetSums

__all__ = ["ClassSums", "Moments", "Statistics", "TargetSums", "checked_features"]
