"""Heads: the small trainable maps from features to classes or targets, as rows of a table."""

from __future__ import annotations

from edgetl_runtime.heads.protocol import Evidence, Explanation, Head
from edgetl_runtime.heads.table import HEADS, HeadRow, fit_head, load_head

__all__ = ["HEADS", "Evidence", "Explanation", "Head", "HeadRow", "fit_head", "load_head"]
