"""How many samples each class has, and what that means for what edgetl fits on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgetl_runtime.types import Label

from edgetl.checking.facts import HELD_OUT, TRAINING, Facts

__all__ = ["FEW", "SKEWED", "ClassCount", "class_counts"]

FEW = 5
SKEWED = 10.0


@dataclass(frozen=True)
class ClassCount:
    """Samples of a class by split; those of other splits than training and held out under their names."""

    label: Label
    training: int
    held_out: int
    others: tuple[tuple[str, int], ...] = ()

    @property
    def few(self) -> bool:
        """Whether a head has less than five samples to learn it from."""
        return self.training < FEW


def class_counts(facts: Facts) -> list[ClassCount]:
    """The classes of all splits, the rarest in training first."""
    counts = Counter(zip(facts.labels, facts.splits.tolist(), strict=True))
    numbers = {name: number for number, name in enumerate(facts.split_names)}
    others = [name for name in facts.split_names if name not in (TRAINING, HELD_OUT)]
    rows = [
        ClassCount(
            label,
            counts[label, numbers[TRAINING]],
            counts[label, numbers[HELD_OUT]],
            tuple((name, counts[label, numbers[name]]) for name in others),
        )
        for label in {*facts.labels}
    ]
    return sorted(rows, key=lambda row: (row.training, str(row.label)))
