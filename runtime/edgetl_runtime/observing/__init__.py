"""What a session does with samples that nobody labelled: drift, adapters before the guard, questions for a person."""

from __future__ import annotations

from edgetl_runtime.observing.asking import Question
from edgetl_runtime.observing.observer import Observer
from edgetl_runtime.observing.policy import ObservePolicy

__all__ = ["ObservePolicy", "Observer", "Question"]
