"""Which backbone to take for the user's data."""

from __future__ import annotations

from edgetl.choosing.likeness import Likeness, compare_with_bundle
from edgetl.choosing.ranking import Candidate, Ranking, choose

__all__ = ["Candidate", "Likeness", "Ranking", "choose", "compare_with_bundle"]
