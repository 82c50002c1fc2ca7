"""The learnt state of a device: one SQLite file, the only thing that is written while a device lives."""

from __future__ import annotations

from edgetl_runtime.store.opening import open_store
from edgetl_runtime.store.samples import LearntSample, Store

__all__ = ["LearntSample", "Store", "open_store"]
