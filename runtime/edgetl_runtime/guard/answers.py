"""What the factory head said of the samples, against their labels: where a class never gets its own name."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from edgetl_runtime.types import Label

__all__ = ["Answers"]

_Pair = Tuple[Optional[Label], Optional[Label]]

_FEWEST = 3
_MOSTLY, _HARDLY = 0.7, 0.1
# A head that is wrong with rate e of all other samples is wrong k times in a row with e^k.
_UNLIKELY = 0.01


class Answers:
    """Counts of (what the factory head said, label). `disputed` finds classes that seem to bear another's name."""

    def __init__(self) -> None:
        self._counts: Dict[_Pair, int] = {}
        self._disputed: Optional[List[Tuple[Label, Label]]] = []

    def add(self, answer: Label, label: Optional[Label]) -> None:
        """One sample: what the factory head said, and its label."""
        self._counts[answer, label] = self._counts.get((answer, label), 0) + 1
        self._disputed = None

    def disputed(self) -> List[Tuple[Label, Label]]:
        """Pairs (A, B): the factory head says A, the label is nearly always B, and hardly anybody gives the label A.

        A new domain does this too, when the factory head is wrong about everything; so it is disputed only where
        the head is so good about all else that chance would hardly make it wrong each time.
        """
        if self._disputed is None:
            self._disputed = self._found()
        return list(self._disputed)

    def _found(self) -> List[Tuple[Label, Label]]:
        labels: Dict[Optional[Label], int] = {}
        said: Dict[Label, Dict[Label, int]] = {}
        right = total = 0
        for (answer, label), count in self._counts.items():
            labels[label] = labels.get(label, 0) + count
            total += count
            right += count if answer == label else 0
            if answer is not None and label is not None:
                said.setdefault(answer, {})[label] = count
        result = []
        for answer, given in said.items():
            count, name = sum(given.values()), max(given, key=lambda label: given[label])
            if name == answer or given[name] < max(_FEWEST, _MOSTLY * count) or labels.get(answer, 0) > _HARDLY * count:
                continue
            # At least one error among the others, so that a few lucky samples do not make a head perfect.
            others = total - count
            wrong = (others - right + given.get(answer, 0) + 1.0) / (others + 2.0)
            if wrong**count < _UNLIKELY:
                result.append((answer, name))
        return result

    def state(self) -> List[List[Any]]:
        """Plain JSON."""
        return [[*pair, count] for pair, count in self._counts.items()]

    @classmethod
    def from_state(cls, rows: Sequence[Sequence[Any]]) -> Answers:
        """The counts of `state()`; raises ValueError."""
        result = cls()
        for answer, label, count in rows:
            result._counts[answer, label] = int(count)
            result._disputed = None
        return result
