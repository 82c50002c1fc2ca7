"""The record of a dataset whose samples have numbers in place of labels: read lazily, split in the order of time."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from edgetl_runtime.errors import SourceError
from edgetl_runtime.labels import targets_text
from edgetl_runtime.types import Output
from numpy.typing import NDArray

from edgetl.data.dataset import SampleReader

__all__ = ["TargetDataset", "named_outputs"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetDataset:
    """N samples with Q numbers each, in the order in which they were taken.

    Iterating reads them one by one and gives each with the text of its numbers, as a device stores them.
    `targets` (N, Q) and `indices` (N,) are those of this part. `held_out` is the last share of `holdout`, and
    `training` what comes before: neighbouring frames of a drive are near copies, and a head that is tested on the
    neighbours of what it learnt looks far better than it is.
    """

    name: str
    outputs: tuple[Output, ...]
    targets: NDArray[np.float64] = field(repr=False)
    reader: SampleReader = field(repr=False)
    holdout: float = 0.2
    indices: tuple[int, ...] = field(default=(), repr=False)
    unreadable: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.indices:
            object.__setattr__(self, "indices", tuple(range(len(self.targets))))

    def __len__(self) -> int:
        """N, those that turn out to be unreadable included."""
        return len(self.targets)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], str]]:
        for index, row in zip(self.indices, self.targets.tolist(), strict=True):
            try:
                sample = self.reader.read(index)
            except SourceError as error:
                if index not in self.unreadable:
                    self.unreadable[index] = "damaged"
                    _log.warning("skipped: %s", error)
                continue
            yield sample, targets_text(row)

    @property
    def skipped(self) -> dict[str, int]:
        """Samples left out so far, by reason."""
        return dict(Counter(self.unreadable.values()))

    @cached_property
    def training(self) -> TargetDataset:
        """The part to train on: the first in time."""
        return self._part("training", 0, self._trained)

    @cached_property
    def held_out(self) -> TargetDataset:
        """The part that training never sees: the last in time; empty when `holdout` is 0."""
        return self._part("held out", self._trained, len(self))

    @cached_property
    def hash(self) -> str:
        """`sha256:...` over every sample's numbers and bytes, whatever their order: the provenance of a bundle."""
        digests = []
        for index, row in zip(self.indices, self.targets.tolist(), strict=True):
            try:
                content = self.reader.content(index)
            except SourceError:
                continue
            digests.append(hashlib.sha256(f"targets:{targets_text(row)}\0".encode() + content).digest())
        return "sha256:" + hashlib.sha256(b"".join(sorted(digests))).hexdigest()

    @property
    def _trained(self) -> int:
        return max(1, math.ceil(len(self) * (1.0 - self.holdout)))

    def _part(self, part: str, start: int, stop: int) -> TargetDataset:
        # No samples at all is a part without indices, and not one of all of them.
        return replace(
            self,
            name=f"{self.name} ({part})",
            targets=self.targets[start:stop],
            indices=self.indices[start:stop],
            reader=self.reader,
        )


def named_outputs(targets: Sequence[str | Output]) -> tuple[Output, ...]:
    """Outputs of names, or of records as they are."""
    return tuple(Output(str(one)) if isinstance(one, str) else one for one in targets)
