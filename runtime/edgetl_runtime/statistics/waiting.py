"""Rows that wait to be folded: one symmetric product for a block is far cheaper than one for every row."""

from __future__ import annotations

from typing import Any, Iterator, Optional

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "Waiting"]

# From here on a larger block gains little.
BLOCK = 1024


class Waiting:
    """Up to BLOCK rows (D), exactly as they came, with weight, class row and targets (Q)."""

    def __init__(self, dim: int, target_count: int) -> None:
        self.rows = np.empty((BLOCK, dim))
        self.weights = np.empty(BLOCK)
        self.slots = np.empty(BLOCK, dtype=np.int64)
        self.targets = np.empty((BLOCK, target_count))
        self.size = 0

    def put(self, row: NDArray[Any], weight: float, slot: int, targets: Optional[NDArray[np.float64]]) -> bool:
        """Take one row (D) with targets (Q) in; whether the block is full. The usual call, worth a shorter way."""
        at = self.size
        self.rows[at] = row
        self.weights[at] = weight
        self.slots[at] = slot
        if targets is not None:
            self.targets[at] = targets
        self.size = at + 1
        return self.size == BLOCK

    def fill(
        self,
        rows: NDArray[Any],
        weights: Optional[NDArray[np.float64]],
        slots: Optional[NDArray[np.int64]],
        targets: Optional[NDArray[np.float64]],
    ) -> Iterator[None]:
        """Take rows (N, D) in; yields each time that the block is full, to be emptied before going on."""
        start = 0
        while start < len(rows):
            size = min(BLOCK - self.size, len(rows) - start)
            here, there = slice(self.size, self.size + size), slice(start, start + size)
            self.rows[here] = rows[there]
            self.weights[here] = 1.0 if weights is None else weights[there]
            self.slots[here] = 0 if slots is None else slots[there]
            if targets is not None:
                self.targets[here] = targets[there]
            self.size += size
            start += size
            if self.size == BLOCK:
                yield
