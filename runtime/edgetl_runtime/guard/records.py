"""What the guard is given and what it answers. Frozen, plain; `to_json` of each is what a store keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.labels import ordered_labels
from edgetl_runtime.types import Label

__all__ = ["DECISIONS", "SourceCheck", "Trial", "Verdict", "source_check"]

DECISIONS = ("promote", "keep", "roll back", "ask")


@dataclass(frozen=True)
class Trial:
    """One labelled sample as it was judged before it taught anybody.

    Losses of the live head, of the candidate and of the factory head: 0 or 1 for a class, squared error for
    targets (mean over Q; then `label` is None). `previous` is the loss of the head that was live before the
    champion; None without one. `answer` is the class that the factory head gave. `held`: it went to the guard
    reservoir and teaches nobody. `on_purpose`: a person taught it by hand. `known`: the champion knows its
    class. `weight` (0 to 1) is how much it counts as evidence: 0 for a near-duplicate of what was judged before,
    or for what looks like nothing that a sensor of this device sees.
    """

    label: Optional[Label]
    champion: float
    challenger: float
    factory: float
    previous: Optional[float] = None
    answer: Optional[Label] = None
    held: bool = False
    on_purpose: bool = False
    known: bool = True
    source: str = ""
    weight: float = 1.0

    def to_json(self) -> Dict[str, Any]:
        """Plain data of this trial."""
        return asdict(self)

    def __post_init__(self) -> None:
        losses = [self.champion, self.challenger, self.factory, 0.0 if self.previous is None else self.previous]
        if not all(0.0 <= loss < float("inf") for loss in losses) or not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"losses are finite and not negative, a weight is in 0..1; got {self}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """The trial of `to_json`; raises TypeError on other keys."""
        return cls(**data)


@dataclass(frozen=True)
class SourceCheck:
    """Mean losses of K classes on the source guard set of the bundle, which nobody was ever trained on.

    `worse` and `better` count the samples of each class that the challenger loses, or gains, against the factory
    head; `squares` sums the squared differences of the two losses, by default one a changed sample. A regression
    has one class, and losses in variances of its targets.
    """

    classes: Tuple[Label, ...]
    counts: Tuple[int, ...]
    champion: Tuple[float, ...]
    challenger: Tuple[float, ...]
    factory: Tuple[float, ...]
    worse: Tuple[int, ...]
    better: Tuple[int, ...]
    squares: Tuple[float, ...] = ()

    def to_json(self) -> Dict[str, Any]:
        """Plain data of this check."""
        return {item.name: list(getattr(self, item.name)) for item in fields(self)}


def source_check(
    labels: Sequence[Label], champion: ArrayLike, challenger: ArrayLike, factory: ArrayLike
) -> SourceCheck:
    """The check from the losses (N) of three heads on the N samples of the guard set with their labels."""
    names = np.empty(len(labels), dtype=object)
    names[:] = list(labels)
    losses = [np.asarray(values, dtype=np.float64) for values in (champion, challenger, factory)]
    if any(values.shape != (len(names),) for values in losses):
        shapes = [values.shape for values in losses]
        raise ValueError(f"losses must be one for each of {len(names)} samples; got shapes {shapes}")
    classes = ordered_labels(list(labels))
    members: Sequence[NDArray[np.bool_]] = [names == label for label in classes]

    def mean(values: NDArray[np.float64]) -> Tuple[float, ...]:
        return tuple(float(values[mask].mean()) for mask in members)

    live, candidate, first = losses
    return SourceCheck(
        classes,
        tuple(int(mask.sum()) for mask in members),
        mean(live),
        mean(candidate),
        mean(first),
        tuple(int((candidate[mask] > first[mask]).sum()) for mask in members),
        tuple(int((candidate[mask] < first[mask]).sum()) for mask in members),
        tuple(float(((candidate[mask] - first[mask]) ** 2).sum()) for mask in members),
    )


@dataclass(frozen=True)
class Verdict:
    """What to do now, and why. `reason` is for a field engineer, `evidence` is plain JSON for the store.

    `decision` is "promote", "keep", "roll back" or "ask"; `target` says what to go back to ("previous" or
    "factory"), or what is asked for ("promote" or "roll back").
    """

    decision: str
    reason: str
    target: str = ""
    evidence: Dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        """Plain data of this verdict."""
        return asdict(self)
