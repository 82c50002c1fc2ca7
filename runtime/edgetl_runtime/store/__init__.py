"""The learnt state of a device: one SQLite file, the only thing that is written while a device lives."""

from __future__ import annotations

from edgetl_runtime.store.facts import Event
from edgetl_runtime.store.folded import Folded
from edgetl_runtime.store.generations import Generation, Pointer
from edgetl_runtime.store.observed import Observed
from edgetl_runtime.store.opening import open_space, open_store
from edgetl_runtime.store.quota import KEPT_GENERATIONS, QUOTA_BYTES, shed
from edgetl_runtime.store.samples import GUARD, TRAIN, Block, LearntSample, NewSample
from edgetl_runtime.store.spaces import (
    MOST_SPACES,
    activate,
    active_space,
    list_spaces,
    new_space,
    peek,
    remove_space,
    space_folder,
    turn_of,
)
from edgetl_runtime.store.state import Store

__all__ = [
    "GUARD",
    "KEPT_GENERATIONS",
    "MOST_SPACES",
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
    "activate",
    "active_space",
    "list_spaces",
    "new_space",
    "open_space",
    "open_store",
    "peek",
    "remove_space",
    "shed",
    "space_folder",
    "turn_of",
]
