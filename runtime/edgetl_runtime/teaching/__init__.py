"""The learning half of a session: judge, store, teach, promote, go back, forget."""

from __future__ import annotations

from edgetl_runtime.bundle.members import SourceSamples
from edgetl_runtime.teaching.history import HistoryEntry, recovery, told
from edgetl_runtime.teaching.lineage import Lineage, Live
from edgetl_runtime.teaching.relearning import Sum, pack_sums, unpack_sums
from edgetl_runtime.teaching.teacher import Teacher

__all__ = [
    "HistoryEntry",
    "Lineage",
    "Live",
    "SourceSamples",
    "Sum",
    "Teacher",
    "pack_sums",
    "recovery",
    "told",
    "unpack_sums",
]
