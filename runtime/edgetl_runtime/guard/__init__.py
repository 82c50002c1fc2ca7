"""The guard: decides from labelled evidence whether what was learnt goes live, stays a challenger, or goes back."""

from __future__ import annotations

from edgetl_runtime.guard.betting import Wealth
from edgetl_runtime.guard.duplicates import NearDuplicates, within_spread
from edgetl_runtime.guard.judging import Guard
from edgetl_runtime.guard.numbers import NumberEvidence
from edgetl_runtime.guard.policy import POLICIES, Policy
from edgetl_runtime.guard.records import SourceCheck, Trial, Verdict, source_check

__all__ = [
    "POLICIES",
    "Guard",
    "NearDuplicates",
    "NumberEvidence",
    "Policy",
    "SourceCheck",
    "Trial",
    "Verdict",
    "Wealth",
    "source_check",
    "within_spread",
]
