"""The record of a labelled dataset: read lazily, split in a way that anybody can repeat."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from edgetl_runtime.errors import LabelError, SourceError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.types import Label
from edgetl_runtime.windows import WindowSpec
from numpy.typing import NDArray

from edgetl.data.groups import held_out_groups
from edgetl.errors import DatasetError

__all__ = ["Dataset", "SampleReader"]

_log = logging.getLogger(__name__)


class SampleReader(Protocol):
    """Where the samples of a dataset lie. An index names the same sample for ever."""

    def read(self, index: int) -> NDArray[Any]:
        """Sample `index`; raises SourceError when it cannot be read."""

    def content(self, index: int) -> bytes:
        """The bytes that identify sample `index`; raises SourceError when they cannot be read."""


@dataclass(frozen=True)
class Dataset:
    """N labelled samples of K classes. Iterating reads them one by one: `for sample, label in dataset`.

    An image is (H, W, 3) uint8 in RGB order; samples from arrays are as they were given. A sample that
    cannot be read is logged and left out; `skipped` says how many, by reason, and grows as samples are read.

    `labels` (N,) and `indices` (N,) are those of this part; `training` and `held_out` are its two disjoint
    parts: of each class a share of `holdout`, drawn by `seed` and the class alone, so that adding samples
    to one class leaves the split of the others as it is. A class always keeps a sample to train on.
    With `groups` (N,), such as the person or the recording of each sample, whole groups are held out, as near to
    that share as they allow: neighbours in a recording are near copies, and so is a person to themselves.

    Where `held` is given, the samples of these indices are held out, whatever the rest says.

    `window` says how a stream is cut into such samples, where they are windows (T, C) of a time series.

    Raises DatasetError for a label that a device refuses to keep: too long, or with control characters.
    """

    name: str
    labels: tuple[Label, ...]
    reader: SampleReader = field(repr=False)
    holdout: float = 0.2
    seed: int = 0
    indices: tuple[int, ...] = field(default=(), repr=False)
    unreadable: dict[int, str] = field(default_factory=dict, repr=False, compare=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    window: WindowSpec | None = None
    held: frozenset[int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.indices:
            object.__setattr__(self, "indices", tuple(range(len(self.labels))))
        for label in set(self.labels):
            try:
                plain_text(str(label))
            except LabelError as error:
                raise DatasetError(f"{self.name}: no device can keep this class: {error}") from error

    def __len__(self) -> int:
        """N, those that turn out to be unreadable included."""
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], Label]]:
        for index, label in zip(self.indices, self.labels, strict=True):
            try:
                sample = self.reader.read(index)
            except SourceError as error:
                if index not in self.unreadable:
                    self.unreadable[index] = "damaged"
                    _log.warning("skipped: %s", error)
                continue
            yield sample, label

    @cached_property
    def classes(self) -> tuple[Label, ...]:
        """The K classes, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def counts(self) -> dict[Label, int]:
        """Samples a class."""
        return dict(Counter(self.labels))

    @property
    def skipped(self) -> dict[str, int]:
        """Samples left out so far, by reason."""
        return dict(Counter(self.unreadable.values()))

    @cached_property
    def training(self) -> Dataset:
        """The part to train on."""
        return self._part("training", [i for i in range(len(self)) if i not in self._held_out])

    @cached_property
    def held_out(self) -> Dataset:
        """The part that training never sees; empty when `holdout` is 0."""
        return self._part("held out", sorted(self._held_out))

    @cached_property
    def hash(self) -> str:
        """`sha256:...` over every sample's label and bytes, whatever their order: the provenance of a bundle."""
        digests = []
        for index, label in zip(self.indices, self.labels, strict=True):
            try:
                content = self.reader.content(index)
            except SourceError:
                continue
            digests.append(hashlib.sha256(f"{type(label).__name__}:{label}\0".encode() + content).digest())
        return "sha256:" + hashlib.sha256(b"".join(sorted(digests))).hexdigest()

    @cached_property
    def _held_out(self) -> frozenset[int]:
        if self.held is not None:
            return frozenset(place for place, index in enumerate(self.indices) if index in self.held)
        if self.groups:
            return held_out_groups(self.groups, self.labels, self.holdout, self.seed)
        positions: dict[Label, list[int]] = {}
        for position, label in enumerate(self.labels):
            positions.setdefault(label, []).append(position)
        chosen: set[int] = set()
        for label, members in positions.items():
            digest = hashlib.sha256(f"{self.seed}\0{type(label).__name__}:{label}".encode()).digest()
            order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(len(members))
            wanted = min(int(len(members) * self.holdout + 0.5), len(members) - 1)
            chosen.update(members[i] for i in order[:wanted])
        return frozenset(chosen)

    def _part(self, part: str, positions: list[int]) -> Dataset:
        return replace(
            self,
            name=f"{self.name} ({part})",
            labels=tuple(self.labels[i] for i in positions),
            indices=tuple(self.indices[i] for i in positions),
            reader=self.reader,
            groups=tuple(self.groups[i] for i in positions) if self.groups else (),
            held=None,  # a part that is split again is split by its groups, or at random
        )
