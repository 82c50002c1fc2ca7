"""The record of a dataset whose samples have several labels each, classes and numbers, some of them missing."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.types import Label
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset, SampleReader
from edgetl.data.targets import TargetDataset, named_outputs
from edgetl.errors import DatasetError

__all__ = ["Task", "TaskDataset"]


@dataclass(frozen=True)
class Task:
    """One thing that is asked of every sample: which of `classes`, or, where there are none, a number."""

    name: str
    classes: tuple[Label, ...] = ()


@dataclass(frozen=True)
class TaskDataset:
    """N samples with T tasks. `truth` (N, T) has the position among the task's classes, or the number; NaN: missing.

    What is held out is held out of every task: the last share in time where `by_time`; whole `groups` (N,) where there
    are such; else a share, drawn by `seed`, of each class of the first task that has classes.
    """

    name: str
    tasks: tuple[Task, ...]
    truth: NDArray[np.float64] = field(repr=False)
    reader: SampleReader = field(repr=False)
    holdout: float = 0.2
    seed: int = 0
    by_time: bool = False
    indices: tuple[int, ...] = field(default=(), repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    unreadable: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.indices:
            object.__setattr__(self, "indices", tuple(range(len(self.truth))))

    def __len__(self) -> int:
        """N, those that turn out to be unreadable included."""
        return len(self.truth)

    @property
    def known(self) -> dict[str, int]:
        """How many samples have a label, by task."""
        return {task.name: int(np.isfinite(self.truth[:, t]).sum()) for t, task in enumerate(self.tasks)}

    @cached_property
    def training(self) -> TaskDataset:
        """The part to train on."""
        return self._part("training", [i for i, index in enumerate(self.indices) if index not in self._held])

    @cached_property
    def held_out(self) -> TaskDataset:
        """The part that training never sees; empty when `holdout` is 0."""
        return self._part("held out", [i for i, index in enumerate(self.indices) if index in self._held])

    def task(self, name: str) -> Dataset | TargetDataset:
        """The samples that have a label of that task, with the same ones held out: what a bundle is built from.

        Raises DatasetError where there is no such task.
        """
        names = [task.name for task in self.tasks]
        if name not in names:
            raise DatasetError(f"{self.name} has no task {name!r}; it has {', '.join(names)}")
        column = self.truth[:, names.index(name)]
        classes = self.tasks[names.index(name)].classes
        there = np.flatnonzero(np.isfinite(column)).tolist()
        title = f"{self.name}: {name}"
        if classes:
            labels = tuple(classes[int(column[i])] for i in there)
            indices = tuple(self.indices[i] for i in there)
            return Dataset(title, labels, self.reader, self.holdout, self.seed, indices, held=self._held)
        # Numbers are held out at the end, so those that are go there; they stay in order otherwise.
        there.sort(key=lambda i: self.indices[i] in self._held)
        held = sum(self.indices[i] in self._held for i in there)
        share = (held + 0.5) / len(there) if held else 0.0
        chosen = tuple(self.indices[i] for i in there)
        return TargetDataset(title, named_outputs([name]), column[there][:, None], self.reader, share, chosen)

    @cached_property
    def hash(self) -> str:
        """`sha256:...` over every sample's labels and bytes, whatever their order: the provenance of a bundle."""
        digests = []
        for index, row in zip(self.indices, self.truth.tolist(), strict=True):
            try:
                content = self.reader.content(index)
            except SourceError:
                continue
            said = [
                None if math.isnan(value) else task.classes[int(value)] if task.classes else value
                for task, value in zip(self.tasks, row, strict=True)
            ]
            digests.append(hashlib.sha256(f"tasks:{said}\0".encode() + content).digest())
        return "sha256:" + hashlib.sha256(b"".join(sorted(digests))).hexdigest()

    @cached_property
    def _held(self) -> frozenset[int]:
        if self.by_time:
            return frozenset(self.indices[max(1, math.ceil(len(self) * (1.0 - self.holdout))) :])
        of = next((t for t, task in enumerate(self.tasks) if task.classes), None)
        strata = ["all"] * len(self) if of is None else [str(value) for value in self.truth[:, of].tolist()]
        drawn = Dataset("", tuple(strata), self.reader, self.holdout, self.seed, self.indices, groups=self.groups)
        return frozenset(drawn.held_out.indices)

    def _part(self, part: str, places: list[int]) -> TaskDataset:
        chosen: Any = {"indices": tuple(self.indices[i] for i in places), "truth": self.truth[places]}
        chosen["groups"] = tuple(self.groups[i] for i in places) if self.groups else ()
        return replace(self, name=f"{self.name} ({part})", reader=self.reader, **chosen)
