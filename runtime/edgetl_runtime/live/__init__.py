"""A session that runs for days: source -> window -> prediction -> decision -> sinks, and labels back to learning."""

from __future__ import annotations

from edgetl_runtime.live.inputs import Input, Memory, inputs_of
from edgetl_runtime.live.learning import LabelRequest, LearningThread
from edgetl_runtime.live.loop import Loop
from edgetl_runtime.live.throttle import HeatGate, PauseGate

__all__ = ["HeatGate", "Input", "LabelRequest", "LearningThread", "Loop", "Memory", "PauseGate", "inputs_of"]
