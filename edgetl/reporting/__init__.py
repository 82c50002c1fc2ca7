"""What the page of a build shows: gathered from the bundle as it was written, the data and the run, and laid out."""

from __future__ import annotations

from edgetl.reporting.story import Story, tell

__all__ = ["Story", "tell"]
