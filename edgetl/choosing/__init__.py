"""Which backbone to take for the user's data."""

from __future__ import annotations

from edgetl.choosing.ranking import Candidate, Ranking, choose

__all__ = ["Candidate", "Ranking", "choose"]
