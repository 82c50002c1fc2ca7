"""Sums per class, and which label has which row of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.labels import ordered_labels
from edgetl_runtime.types import Label

__all__ = ["ClassSums", "ClassTable"]

Array = NDArray[np.float64]


@dataclass
class ClassSums:
    """Sums per class (K, D): w x and w x^2 about the shift, and w x / |x| of the unshifted x."""

    sums: Array
    squares: Array
    directions: Array

    @classmethod
    def zero(cls, count: int, dim: int) -> ClassSums:
        """Of K = `count` classes without rows."""
        return cls(*(np.zeros((count, dim)) for _ in range(3)))

    def arrays(self) -> Tuple[Array, Array, Array]:
        """The three, in the order of the fields."""
        return self.sums, self.squares, self.directions

    def add(
        self, rows: Array, shift: Array, lengths: Array, weights: Array, classes: NDArray[np.int64]
    ) -> None:
        """Fold rows (N, D) about the shift (D), with unshifted lengths, weights and classes (N each)."""
        factors = np.stack([weights, weights / np.where(lengths > 0, lengths, 1.0)])
        order = np.argsort(classes, kind="stable")
        # Class by class: a product with an indicator of the classes costs K times as much.
        for members in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
            label, mine, own = classes[members[0]], rows[members], factors[:, members]
            sums = own @ mine
            self.sums[label] += sums[0]
            self.directions[label] += sums[1] + own[1].sum() * shift
            np.multiply(mine, mine, out=mine)
            self.squares[label] += own[0] @ mine

    def grown(self, count: int) -> ClassSums:
        """The same with room for `count` classes, doubling so that new classes stay cheap."""
        held, dim = self.sums.shape
        if count <= held:
            return self
        larger = ClassSums.zero(max(count, 2 * held), dim)
        for mine, theirs in zip(larger.arrays(), self.arrays()):
            mine[:held] = theirs
        return larger

    def taken(self, slots: List[int]) -> ClassSums:
        """The classes `slots`, in that order, as new arrays."""
        return ClassSums(*(array[slots] for array in self.arrays()))

    def move(self, by: Array, counts: Array) -> None:
        """Turn x into x + by (D), given the weight of each class (K)."""
        counts = counts[:, None]
        self.squares += 2.0 * self.sums * by + counts * by**2
        self.sums += counts * by

    def scale(self, factor: float) -> None:
        """Multiply every sum in place."""
        for array in self.arrays():
            array *= factor


class ClassTable:
    """Labels in the order of arrival, each with its weight and its row of sums. Weights run ahead of the sums,
    which wait for the next fold."""

    def __init__(self, dim: int) -> None:
        self.slots: Dict[Label, int] = {}
        self.counts: List[float] = []
        self.sums = ClassSums.zero(0, dim)

    def weigh(self, names: Sequence[Label], weights: Optional[Array]) -> NDArray[np.int64]:
        """Rows (N) of the labels; new ones get a row, and every weight is counted."""
        each = [1.0] * len(names) if weights is None else weights.tolist()
        return np.array([self.weigh_one(name, weight) for name, weight in zip(names, each)], dtype=np.int64)

    def weigh_one(self, name: Label, weight: float) -> int:
        """The row of one label, whose weight is counted: the usual call of a device, worth a shorter way."""
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = len(self.counts)
            self.counts.append(0.0)
        self.counts[slot] += weight
        return slot

    def fold(
        self, rows: Array, shift: Array, lengths: Array, weights: Array, slots: NDArray[np.int64]
    ) -> None:
        """Add features (N, D), about the shift (D), to the sums of their rows."""
        self.sums = self.sums.grown(len(self.counts))
        self.sums.add(rows, shift, lengths, weights, slots)

    def ordered(self) -> Tuple[Tuple[Label, ...], Array, ClassSums]:
        """Labels, weights (K) and sums (K, D) in the one order of classes, as new arrays."""
        labels = ordered_labels(self.slots)
        slots = [self.slots[label] for label in labels]
        self.sums = self.sums.grown(len(self.counts))
        return labels, np.array([self.counts[slot] for slot in slots], dtype=np.float64), self.sums.taken(slots)

    def copy(self) -> ClassTable:
        """The same in arrays of its own."""
        return self._kept(list(self.slots))

    def decay(self, factor: float) -> None:
        """Multiply the weights, not the sums."""
        self.counts = [count * factor for count in self.counts]

    def move(self, by: Array) -> None:
        """Turn x into x + by (D)."""
        self.sums = self.sums.taken(list(range(len(self.counts))))
        self.sums.move(by, np.array(self.counts, dtype=np.float64))

    def combined(self, other: ClassTable, sign: float) -> ClassTable:
        """self + sign * other; raises StatisticsError on a class that is not in here to be subtracted."""
        result = self.copy()
        for label, slot in other.slots.items():
            if label not in result.slots:
                if sign < 0:
                    raise StatisticsError(f"the class {label!r} is not in here, so it cannot be subtracted")
                result.slots[label] = len(result.counts)
                result.counts.append(0.0)
            result.counts[result.slots[label]] += sign * other.counts[slot]
        result.sums = result.sums.grown(len(result.counts))
        mine = [result.slots[label] for label in other.slots]
        for total, part in zip(result.sums.arrays(), other.copy().sums.arrays()):
            total[mine] += sign * part
        return result

    def settled(self, whole: ClassTable) -> ClassTable:
        """self = whole - part without the classes that are gone; raises StatisticsError on a negative weight."""
        kept = []
        for label, slot in self.slots.items():
            tolerance = 1e-9 * whole.counts[whole.slots[label]]
            if self.counts[slot] < -tolerance:
                raise StatisticsError(
                    f"the class {label!r} would have a count of {self.counts[slot]:g}: what is subtracted was not"
                    " all added before; nothing was changed"
                )
            if self.counts[slot] > tolerance:
                kept.append(label)
        return self._kept(kept)

    def _kept(self, labels: List[Label]) -> ClassTable:
        slots = [self.slots[label] for label in labels]
        result = ClassTable(self.sums.sums.shape[1])
        result.slots = {label: row for row, label in enumerate(labels)}
        result.counts = [self.counts[slot] for slot in slots]
        result.sums = self.sums.grown(len(self.counts)).taken(slots)
        return result
