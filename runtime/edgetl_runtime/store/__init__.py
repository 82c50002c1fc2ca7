"""The learnt state of a device: one SQLite file, the only thing that is written while a device lives."""

from __future__ import annotations

from edgetl_runtime.store.facts import Event
from edgetl_runtime.store.folded import Folded
from edgetl_runtime.store.generations import Generation, Pointer
from edgetl_runtime.store.observed import Observed
from edgetl_runtime.store.opening import open_store
from edgetl_runtime.store.quota import KEPT_GENERATIONS, QUOTA_BYTES, shed
from edgetl_runtime.store.samples import GUARD, TRAIN, Block, LearntSample, NewSample
from edgetl_runtime.store.state import Store

__all__ = [
    "GUARD",
    "KEPT_GENERATIONS",
    "QUOTA_BYTES",
    "TRAIN",
    "Block",
    "Event",
    "Folded",
    "Generation",
    "LearntSample",
    "NewSample",
    "Observed",
    "Pointer",
    "Store",
    "open_store",
    "shed",
]
