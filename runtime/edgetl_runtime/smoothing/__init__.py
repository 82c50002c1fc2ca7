"""Smoothing over time, for people and robots: steady decisions, and samples worth learning. Pure."""

from __future__ import annotations

from edgetl_runtime.smoothing.decisions import MODES, Decision, DecisionFilter
from edgetl_runtime.smoothing.thinning import RateLimit, Thinner

__all__ = ["MODES", "Decision", "DecisionFilter", "RateLimit", "Thinner"]
