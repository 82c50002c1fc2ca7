"""Bounded memories of features: class-balanced for training, uniform for judging, never one sample in both."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, SampleError, StatisticsError
from edgetl_runtime.labels import checked_label, checked_labels, label_array, ordered_labels
from edgetl_runtime.types import Label

__all__ = ["Neighbour", "Reservoir", "ReservoirPair", "nearest_rows"]

_FORMAT = 1
# float16 ends at 65504; larger features are clipped, not turned into infinity.
_LARGEST = 65504.0


@dataclass(frozen=True)
class Neighbour:
    """A stored sample near another: its number in the order of arrival, its label, the cosine of the two."""

    number: int
    label: Label
    cosine: float


class Reservoir:
    """At most `size_bytes` of features (N, D) in float16 with their labels, a fair draw from all that came.

    `balanced` keeps the classes alike: when full, the largest class gives way (Chrysakis and Moens 2020,
    class-balancing reservoir sampling); within a class every sample had the same chance. Otherwise every
    sample had the same chance (Vitter's algorithm R). A sample whose cosine with a stored one of its class
    is above `same` is refused and does not count. Cosines are taken about `shift` (D), zeros by default.
    An offer costs O(N D / K) for the refusal check, and O(N) when full; memory 2 N D bytes.
    """

    def __init__(
        self,
        dim: int,
        size_bytes: int,
        balanced: bool = True,
        same: float = 0.9999,
        shift: Optional[ArrayLike] = None,
    ) -> None:
        if dim < 1 or size_bytes < 2 * dim:
            raise ValueError(f"one sample of D={dim} takes {2 * dim} bytes; size_bytes is {size_bytes}")
        self.dim, self.balanced, self.same = int(dim), bool(balanced), float(same)
        self.capacity = int(size_bytes) // (2 * self.dim)
        self._shift = np.zeros(self.dim, np.float32) if shift is None else np.array(shift, np.float32)
        if self._shift.shape != (self.dim,):
            raise ValueError(f"shift must have shape ({self.dim},); got {self._shift.shape}")
        self._rows: NDArray[np.float16] = np.zeros((0, self.dim), np.float16)
        self._labels: List[Label] = []
        self._numbers: List[int] = []
        # Where the samples of each class stand, in order.
        self._places: Dict[Label, List[int]] = {}
        self._seen: Dict[Label, int] = {}
        # Classes that once were the largest while it was full: from then on they only exchange members.
        self._full: Dict[Label, bool] = {}

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def features(self) -> NDArray[np.float32]:
        """Stored features (N, D)."""
        return self._rows[: len(self)].astype(np.float32)

    @property
    def labels(self) -> NDArray[Any]:
        """Their labels (N)."""
        return label_array(self._labels)

    @property
    def numbers(self) -> Tuple[int, ...]:
        """The number of each stored sample (N), as given to `add`."""
        return tuple(self._numbers)

    @property
    def seen(self) -> Dict[Label, int]:
        """How many samples of each class were offered, near-duplicates not counted."""
        return {label: self._seen[label] for label in ordered_labels(self._seen)}

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Chance (N) that each stored sample had to be stored: the weights 1 / p undo the selection."""
        if not self.balanced:
            total = sum(self._seen.values())
            return np.full(len(self), len(self) / total if total else 1.0)
        return np.array([len(self._places[label]) / self._seen[label] for label in self._labels], dtype=np.float64)

    def add(
        self,
        features: ArrayLike,
        labels: Union[Sequence[Label], NDArray[Any]],
        generator: np.random.Generator,
        numbers: Optional[Sequence[int]] = None,
    ) -> NDArray[np.bool_]:
        """Offer features (N, D) with labels (N); True (N) where the sample is stored now. Raises SampleError."""
        rows = np.asarray(features, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim or not np.isfinite(rows).all():
            raise SampleError(f"features must be finite and have shape (N, {self.dim}); got {rows.shape}")
        names = checked_labels(labels, len(rows))
        first = sum(self._seen.values())
        given = list(numbers) if numbers is not None else list(range(first, first + len(rows)))
        if len(given) != len(rows):
            raise SampleError(f"numbers must be one for each of {len(rows)} samples; got {len(given)}")
        before = set(self._numbers)
        for row, name, number in zip(rows, names, given):
            self._offer(row, name, int(number), generator)
        now = set(self._numbers) - before
        return np.array([number in now for number in given], dtype=np.bool_)

    def nearest(self, features: ArrayLike, count: int = 5) -> Tuple[Neighbour, ...]:
        """The stored samples nearest to one sample (1, D) by cosine, the nearest first."""
        cosines = self._cosines(np.asarray(features, dtype=np.float32).reshape(-1))
        order = np.argsort(-cosines, kind="stable")[:count]
        return tuple(Neighbour(self._numbers[i], self._labels[i], float(cosines[i])) for i in order)

    def knows(self, feature: ArrayLike, label: Optional[Label] = None) -> bool:
        """Whether a near-duplicate of one sample (D), of this class or any, is stored."""
        places = None if label is None else self._places.get(label, [])
        return bool((self._cosines(np.asarray(feature, dtype=np.float32), places) > self.same).any())

    def forget(self, numbers: Sequence[int]) -> int:
        """Drop the samples with these numbers; how many there were."""
        gone = {int(number) for number in numbers}
        keep = [position for position, number in enumerate(self._numbers) if number not in gone]
        dropped = len(self) - len(keep)
        self._rows = self._rows[keep]
        self._labels = [self._labels[position] for position in keep]
        self._numbers = [self._numbers[position] for position in keep]
        self._place()
        return dropped

    def state(self) -> Dict[str, NDArray[Any]]:
        """Named arrays: `features` (N, D) float16, `numbers` (N) and `classes` (N) int64, `shift` (D)."""
        order = {label: row for row, label in enumerate(ordered_labels(self._seen))}
        return {
            "features": self._rows[: len(self)].copy(),
            "numbers": np.array(self._numbers, dtype=np.int64),
            "classes": np.array([order[label] for label in self._labels], dtype=np.int64),
            "shift": self._shift.copy(),
        }

    def metadata(self) -> Dict[str, Any]:
        """What `from_state` needs beside the arrays, as JSON has it."""
        classes = ordered_labels(self._seen)
        return {
            "format": _FORMAT,
            "dim": self.dim,
            "capacity": self.capacity,
            "balanced": self.balanced,
            "same": self.same,
            "classes": list(classes),
            "seen": [self._seen[label] for label in classes],
            "full": [bool(self._full.get(label)) for label in classes],
        }

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Reservoir:
        """The reservoir of `state()` and `metadata()`; raises StatisticsError on anything else."""
        try:
            dim, capacity = int(metadata["dim"]), int(metadata["capacity"])
            classes = [checked_label(label) for label in metadata["classes"]]
            rows, numbers, indices = arrays["features"], arrays["numbers"], arrays["classes"]
            fits = (
                metadata["format"] == _FORMAT
                and rows.dtype == np.float16
                and numbers.dtype == indices.dtype == np.int64
                and rows.ndim == 2
                and rows.shape[1] == dim
                and len(rows) <= capacity
                and np.isfinite(rows).all()
                and numbers.shape == indices.shape == (len(rows),)
                and len(set(numbers.tolist())) == len(rows)
                and (len(rows) == 0 or (indices.min() >= 0 and indices.max() < len(classes)))
                and len(metadata["seen"]) == len(metadata["full"]) == len(classes)
            )
            if not fits:
                raise ValueError("its arrays do not fit its metadata")
            result = cls(dim, capacity * 2 * dim, metadata["balanced"], metadata["same"], arrays["shift"])
            result._seen = dict(zip(classes, (int(count) for count in metadata["seen"])))
        except (KeyError, TypeError, ValueError, LabelError) as error:
            raise StatisticsError(f"this is no reservoir of format {_FORMAT}: {error}") from error
        result._rows = np.array(rows)
        result._labels = [classes[index] for index in indices.tolist()]
        result._numbers = numbers.tolist()
        result._full = dict(zip(classes, (bool(flag) for flag in metadata["full"])))
        result._place()
        return result

    def _offer(self, row: NDArray[np.float32], name: Label, number: int, generator: np.random.Generator) -> None:
        if self.knows(row, name):
            return
        self._seen[name] = self._seen.get(name, 0) + 1
        if len(self) < self.capacity:
            if len(self._rows) == len(self):
                room = min(self.capacity, max(16, 2 * len(self)))
                larger = np.zeros((room, self.dim), np.float16)
                larger[: len(self)] = self._rows[: len(self)]
                self._rows = larger
            self._labels.append(name)
            self._numbers.append(number)
            self._places.setdefault(name, []).append(len(self) - 1)
            self._put(len(self) - 1, row)
            return
        if not self.balanced:
            position = int(generator.integers(sum(self._seen.values())))
        else:
            most = max(map(len, self._places.values()))
            largest = [label for label, places in self._places.items() if len(places) == most]
            self._full.update(dict.fromkeys(largest, True))
            if self._full.get(name):
                members = self._places.get(name, [])
                chance = int(generator.integers(self._seen[name]))
                position = members[chance] if chance < len(members) else self.capacity
            else:
                members = sorted(place for label in largest for place in self._places[label])
                position = members[int(generator.integers(len(members)))]
        if position < self.capacity:
            self._places[self._labels[position]].remove(position)
            bisect.insort(self._places.setdefault(name, []), position)
            self._labels[position], self._numbers[position] = name, number
            self._put(position, row)

    def _put(self, position: int, row: NDArray[np.float32]) -> None:
        self._rows[position] = np.clip(row, -_LARGEST, _LARGEST)

    def _place(self) -> None:
        self._places = {}
        for position, label in enumerate(self._labels):
            self._places.setdefault(label, []).append(position)

    def _cosines(self, row: NDArray[np.float32], places: Optional[List[int]] = None) -> NDArray[np.float64]:
        if row.shape != (self.dim,):
            raise SampleError(f"one sample has shape ({self.dim},); got {row.shape}")
        # Compared as it would be stored, so that the same sample again is exactly the same.
        wanted = row.clip(-_LARGEST, _LARGEST).astype(np.float16).astype(np.float32) - self._shift
        stored = (self.features if places is None else self._rows[places].astype(np.float32)) - self._shift
        return _cosines(stored, wanted)


def nearest_rows(
    feature: ArrayLike,
    blocks: Iterable[Tuple[Sequence[int], Sequence[Label], NDArray[np.float32]]],
    shift: ArrayLike,
    count: int = 5,
) -> Tuple[Neighbour, ...]:
    """The rows nearest to a feature (D) by cosine about `shift` (D), the nearest first.

    `blocks` are numbers (N), labels (N) and features (N, D): all that is stored may pass, and only `count` stay.
    """
    about = np.asarray(shift, dtype=np.float32)
    wanted = np.asarray(feature, dtype=np.float32) - about
    best: List[Neighbour] = []
    for numbers, labels, rows in blocks:
        cosines = _cosines(np.asarray(rows, dtype=np.float32) - about, wanted)
        order = np.argsort(-cosines, kind="stable")[:count]
        best += [Neighbour(int(numbers[i]), labels[i], float(cosines[i])) for i in order]
        best = sorted(best, key=lambda one: -one.cosine)[:count]
    return tuple(best)


def _cosines(rows: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows)) * float(np.sqrt(wanted @ wanted))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.where(lengths > 0, (rows @ wanted) / lengths, (rows == wanted).all(axis=1))
    return np.asarray(cosines, dtype=np.float64)


@dataclass(frozen=True)
class ReservoirPair:
    """One reservoir to train on, one to judge with, and `judge_share` of the samples for the judge.

    A sample is offered to one of them only, and not at all when the other already has its like: what judges
    a head has never trained it.
    """

    train: Reservoir
    judge: Reservoir
    judge_share: float = 0.2

    def add(
        self,
        features: ArrayLike,
        labels: Union[Sequence[Label], NDArray[Any]],
        generator: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """Offer features (N, D) with labels (N); True (N) where the sample went to the judge's side."""
        rows = np.asarray(features, dtype=np.float32)
        names = checked_labels(labels, len(rows))
        judged = generator.random(len(rows)) < self.judge_share
        for row, name, to_judge in zip(rows, names, judged.tolist()):
            mine, other = (self.judge, self.train) if to_judge else (self.train, self.judge)
            if not other.knows(row):
                mine.add(row[None], [name], generator)
        return judged
