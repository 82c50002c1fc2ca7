"""What goes when a state outgrows its quota, and in which order."""

from __future__ import annotations

import logging
from typing import Callable, Dict

from edgetl_runtime.store.state import Store

__all__ = ["KEPT_EVENTS", "KEPT_GENERATIONS", "QUOTA_BYTES", "shed"]

logger = logging.getLogger(__name__)

QUOTA_BYTES = 256 << 20
KEPT_GENERATIONS = 32
KEPT_EVENTS = 100
_ROOM = 0.9  # shed down to this share, so that the next samples do not shed again


def shed(store: Store, quota_bytes: int, fold: Callable[[int], int]) -> Dict[str, int]:
    """Make room: events, then stored samples, then features of the oldest samples, then generations.

    `fold(n)` turns the features of about n of the oldest training samples into their sum and says how many it
    took. The last two good generations always stay, and what the pointer names. Returns what went, by kind.
    """
    gone: Dict[str, int] = {}
    if store.used_bytes() <= quota_bytes:
        return gone
    goal = int(_ROOM * quota_bytes)
    gone["events"] = store.facts.drop_events(KEPT_EVENTS)
    gone["raw"] = store.raw.drop(store.used_bytes() - goal)
    while store.used_bytes() > goal:
        row_bytes = 4 * store.samples.dim + 256
        folded = fold(max(32, (store.used_bytes() - goal) // row_bytes))
        if not folded:
            break
        gone["folded"] = gone.get("folded", 0) + folded
    keep = KEPT_GENERATIONS
    while store.used_bytes() > goal and keep > 2:
        keep //= 2
        gone["generations"] = gone.get("generations", 0) + len(store.generations.trim(keep, store.pointer))
    gone = {kind: count for kind, count in gone.items() if count}
    if gone:
        store.log_event("quota", quota_bytes=quota_bytes, gone=gone)
    if store.used_bytes() > quota_bytes:
        logger.warning("state %s: beyond its quota of %d bytes, and nothing more can go", store.path, quota_bytes)
    return gone
