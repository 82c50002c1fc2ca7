"""The additive core: everything that learning accumulates, from which heads follow in closed form.

A commutative group in float64: `a + b` merges devices, `a - b` forgets. Sums are kept about a fixed shift
(the source mean), because squares of unshifted ReLU features lose the digits that the answer needs.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import FeatureSpaceError, StatisticsError
from edgetl_runtime.labels import checked_labels, ordered_labels
from edgetl_runtime.statistics.classes import ClassSums, ClassTable
from edgetl_runtime.statistics.features import checked_features, checked_targets, checked_weights
from edgetl_runtime.statistics.form import FORMAT, check_form, packed_moments, unpacked_moments
from edgetl_runtime.statistics.moments import Moments, TargetSums
from edgetl_runtime.statistics.waiting import Waiting
from edgetl_runtime.types import Label

__all__ = ["Statistics"]

Array = NDArray[np.float64]


class Statistics:
    """Sums of features (N, D), per class for labels (N) and crossed with targets (N, Q), in float64.

    `shift` (D) is what is subtracted from every feature before squaring: the source mean. None takes the
    mean of the first rows. `feature_space` names the extractor build; operands of another are refused.
    Every sample of one object has labels, or targets, or both; `add_unlabelled` goes with any of them.

    Adding one sample costs O(D) and, amortised over blocks of 1,024 rows, one row's share of a symmetric
    product, O(D^2 / 2). Memory: 8 D^2 bytes, as much again with unlabelled samples, 8 KiB x D of waiting
    rows and 24 K D. Exact to merge, to forget, and in any order, to rounding. Blocks follow the order of
    arrival, so how a stream is cut into calls changes not a single bit; reading in between does fold.
    """

    def __init__(self, dim: int, shift: Optional[ArrayLike] = None, feature_space: Optional[str] = None) -> None:
        if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or dim < 1:
            raise ValueError(f"dim must be a positive integer, the length of a feature vector; got {dim!r}")
        self._dim = int(dim)
        self._feature_space = feature_space
        self._shift: Optional[Array] = None if shift is None else self._checked_shift(shift)
        self._table = ClassTable(self._dim)
        self._rows: Optional[Moments] = None
        self._unlabelled: Optional[Moments] = None
        self._targets: Optional[TargetSums] = None
        # What every sample has, once the first came: (labels?, Q).
        self._kind: Optional[Tuple[bool, int]] = None
        self._waiting: Optional[Waiting] = None
        self._waiting_unlabelled: Optional[Waiting] = None
        # Forgetting that the folded sums still owe; kept apart so that decay costs O(K).
        self._owed = 1.0

    def __repr__(self) -> str:
        return f"Statistics(dim={self._dim}, classes={len(self._table.slots)}, count={self.count:g})"

    # -- adding

    def add(
        self,
        features: ArrayLike,
        labels: Optional[Union[Sequence[Label], NDArray[Any]]] = None,
        targets: Optional[ArrayLike] = None,
        weights: Optional[ArrayLike] = None,
    ) -> None:
        """Add features (N, D) with labels (N), targets (N, Q) or both, and weights (N) > 0, 1 by default.

        Raises SampleError, LabelError or StatisticsError, and then nothing was added.
        """
        rows = checked_features(features, self._dim)
        if labels is None and targets is None:
            raise StatisticsError("add needs labels or targets; samples without go to add_unlabelled")
        names = None if labels is None else checked_labels(labels, len(rows))
        values = None if targets is None else checked_targets(targets, len(rows))
        scale = checked_weights(weights, len(rows))
        kind = (names is not None, 0 if values is None else values.shape[1])
        if self._kind is not None and kind != self._kind:
            raise StatisticsError(
                f"these statistics hold samples with (labels, Q) = {self._kind}, got {kind}; keep one Statistics a task"
            )
        if len(rows) == 0:
            return
        self._kind = kind
        if self._waiting is None:
            self._waiting = Waiting(self._dim, kind[1])
        if len(rows) == 1:
            weight = 1.0 if scale is None else float(scale[0])
            slot = 0 if names is None else self._table.weigh_one(names[0], weight)
            if self._waiting.put(rows[0], weight, slot, None if values is None else values[0]):
                self._fold_one(self._waiting)
            return
        slots = None if names is None else self._table.weigh(names, scale)
        for _ in self._waiting.fill(rows, scale, slots, values):
            self._fold_one(self._waiting)

    def add_unlabelled(self, features: ArrayLike, weights: Optional[ArrayLike] = None) -> None:
        """Add features (N, D) of which nobody knows the label; kept apart from the others."""
        rows = checked_features(features, self._dim)
        scale = checked_weights(weights, len(rows))
        if self._waiting_unlabelled is None:
            self._waiting_unlabelled = Waiting(self._dim, 0)
        for _ in self._waiting_unlabelled.fill(rows, scale, None, None):
            self._fold_one(self._waiting_unlabelled)

    def decay(self, factor: float) -> None:
        """Exponential forgetting: every weight so far is multiplied by `factor` in (0, 1]. Costs O(K)."""
        if not 0.0 < factor <= 1.0:
            raise ValueError(f"the factor must be in (0, 1]; got {factor}")
        self._table.decay(factor)
        for waiting in (self._waiting, self._waiting_unlabelled):
            if waiting is not None:
                waiting.weights[: waiting.size] *= factor
        self._owed *= factor
        if self._owed < 1e-100:
            self._fold()

    # -- reading

    @property
    def dim(self) -> int:
        """D."""
        return self._dim

    @property
    def feature_space(self) -> Optional[str]:
        """The identity of the extractor build, None when unbound."""
        return self._feature_space

    @property
    def shift(self) -> Array:
        """What is subtracted from every feature (D); zeros while none was given and nothing was added."""
        self._fold()
        return np.zeros(self._dim) if self._shift is None else self._shift.copy()

    @property
    def classes(self) -> Tuple[Label, ...]:
        """The K labels seen: integers by size, then strings."""
        return ordered_labels(self._table.slots)

    @property
    def counts(self) -> Array:
        """Weight of the samples of each class (K), in the order of `classes`."""
        return self._table.ordered()[1]

    @property
    def count(self) -> float:
        """Weight of all samples with a label or target."""
        if self._kind is not None and self._kind[0]:
            return float(sum(self._table.counts))
        return self.moments.count

    @property
    def target_count(self) -> int:
        """Q, zero without targets."""
        return 0 if self._kind is None else self._kind[1]

    @property
    def by_class(self) -> ClassSums:
        """Sums of each class (K, D), in the order of `classes`, as new arrays."""
        self._fold()
        return self._table.ordered()[2]

    @property
    def moments(self) -> Moments:
        """Sums over all samples with a label or target, about the shift. Not a copy: do not change it."""
        self._fold()
        return Moments.zero(self._dim) if self._rows is None else self._rows

    @property
    def unlabelled(self) -> Moments:
        """The same over the samples of `add_unlabelled`."""
        self._fold()
        return Moments.zero(self._dim) if self._unlabelled is None else self._unlabelled

    @property
    def targets(self) -> TargetSums:
        """Sums with the targets, x about the shift. Not a copy: do not change it."""
        self._fold()
        return TargetSums.zero(self._dim, 0) if self._targets is None else self._targets

    def means(self) -> Array:
        """Mean of each class about the shift (K, D)."""
        result: Array = self.by_class.sums / self.counts[:, None]
        return result

    def within_scatter(self) -> Array:
        """Sum over the classes of the scatter about their means (D, D); without labels, about the one mean."""
        moments = self.moments
        if self._table.slots:
            scaled = self.by_class.sums / np.sqrt(self.counts)[:, None]
        else:
            scaled = moments.sum[None] / math.sqrt(moments.count or 1.0)
        result: Array = moments.gram - scaled.T @ scaled
        return result

    # -- the group

    def __add__(self, other: Statistics) -> Statistics:
        """All samples of both; shifts that differ are converted exactly. Raises FeatureSpaceError."""
        return self._combined(other, 1.0)

    def __sub__(self, other: Statistics) -> Statistics:
        """As if the samples of `other` had never been added.

        Raises StatisticsError when they were not all in here: a count or a variance would be negative.
        """
        return self._combined(other, -1.0)

    def scaled(self, factor: float) -> Statistics:
        """A copy in which every sample weighs `factor` (> 0) times as much."""
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"the factor must be positive; got {factor}")
        result = self.copy()
        result._table.decay(factor)
        result._owed = factor
        result._fold()
        return result

    def moved(self, shift: ArrayLike) -> Statistics:
        """The same samples about another shift (D)."""
        target = self._checked_shift(shift)
        result = self.copy()
        by = np.zeros(self._dim) if result._shift is None else result._shift - target
        result._shift = target
        if by.any():
            result._table.move(by)
            result._rows = None if result._rows is None else result._rows.moved(by)
            result._unlabelled = None if result._unlabelled is None else result._unlabelled.moved(by)
            if result._targets is not None:
                result._targets.cross += np.outer(by, result._targets.sum)
        return result

    def copy(self) -> Statistics:
        """The same sums in arrays of their own."""
        self._fold()
        result = Statistics(self._dim, self._shift, self._feature_space)
        result._table = self._table.copy()
        result._rows = None if self._rows is None else self._rows.copy()
        result._unlabelled = None if self._unlabelled is None else self._unlabelled.copy()
        result._targets = None if self._targets is None else self._targets.copy()
        result._kind = self._kind
        return result

    def _combined(self, other: Statistics, sign: float) -> Statistics:
        if not isinstance(other, Statistics):
            raise TypeError(f"statistics combine with statistics only; got {type(other).__name__}")
        if other._dim != self._dim or other._feature_space != self._feature_space:
            raise FeatureSpaceError(
                f"statistics of two feature spaces cannot be combined: {self._feature_space!r} (D={self._dim})"
                f" and {other._feature_space!r} (D={other._dim}); extract the features again with one build"
            )
        if self._kind is not None and other._kind is not None and self._kind != other._kind:
            raise StatisticsError(
                f"the operands hold samples with (labels, Q) = {self._kind} and {other._kind}; combine one task"
            )
        result = self.copy()
        other._fold()
        if result._shift is None:
            result._shift = other._shift
        elif other._shift is not None and not np.array_equal(result._shift, other._shift):
            other = other.moved(result._shift)
        result._kind = self._kind or other._kind
        result._table = result._table.combined(other._table, sign)
        if other._rows is not None:
            result._rows = (result._rows or Moments.zero(self._dim)).combined(other._rows, sign)
        if other._unlabelled is not None:
            result._unlabelled = (result._unlabelled or Moments.zero(self._dim)).combined(other._unlabelled, sign)
        if other._targets is not None:
            before = result._targets or TargetSums.zero(self._dim, other.target_count)
            result._targets = before.combined(other._targets, sign)
        if sign < 0:
            result._settle_subtraction(self)
        return result

    def _settle_subtraction(self, whole: Statistics) -> None:
        """Drop the classes that are gone; raise when self = whole - part has a negative count or variance."""
        hint = "what is subtracted was not all added before; nothing was changed"
        self._table = self._table.settled(whole._table)
        for rows, before in ((self._rows, whole._rows), (self._unlabelled, whole._unlabelled)):
            if rows is None:
                continue
            scale = Moments.zero(self._dim) if before is None else before
            if rows.count < -1e-9 * scale.count:
                raise StatisticsError(f"the count would be {rows.count:g}: {hint}")
            tolerance = 1e-9 * float(np.trace(scale.gram)) + 1e-300
            scatter = self.within_scatter() if rows is self._rows else rows.gram
            try:
                np.linalg.cholesky(scatter + tolerance * np.eye(self._dim))
            except np.linalg.LinAlgError:
                raise StatisticsError(f"a variance would be negative: {hint}") from None

    # -- state

    def state(self) -> Dict[str, Array]:
        """Named float64 arrays of everything here, to be saved with `metadata()`. Rows that wait are folded."""
        self._fold()
        arrays = {} if self._shift is None else {"shift": self._shift.copy()}
        if self._table.slots:
            _, counts, sums = self._table.ordered()
            arrays.update(counts=counts, sums=sums.sums, squares=sums.squares, directions=sums.directions)
        arrays.update(packed_moments(self._rows, ""))
        arrays.update(packed_moments(self._unlabelled, "unlabelled_"))
        if self._targets is not None:
            targets = self._targets.copy()
            arrays.update(target_sum=targets.sum, target_gram=targets.gram, target_cross=targets.cross)
        return arrays

    def metadata(self) -> Dict[str, Any]:
        """What `from_state` needs beside the arrays, as JSON has it."""
        return {
            "format": FORMAT,
            "dim": self._dim,
            "feature_space": self._feature_space,
            "classes": list(self.classes),
            "labels": None if self._kind is None else self._kind[0],
            "target_count": self.target_count,
        }

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Statistics:
        """The statistics of `state()` and `metadata()`, bit for bit; raises StatisticsError on anything else."""
        check_form(arrays, metadata)
        result = cls(metadata["dim"], arrays.get("shift"), metadata["feature_space"])
        if metadata["labels"] is not None:
            result._kind = (metadata["labels"], metadata["target_count"])
        if metadata["classes"]:
            table = result._table
            table.slots = {label: slot for slot, label in enumerate(metadata["classes"])}
            table.counts = [float(count) for count in arrays["counts"]]
            table.sums = ClassSums(*(np.array(arrays[name]) for name in ("sums", "squares", "directions")))
        result._rows = unpacked_moments(arrays, "", result._dim)
        result._unlabelled = unpacked_moments(arrays, "unlabelled_", result._dim)
        if metadata["target_count"]:
            result._targets = TargetSums(*(np.array(arrays[f"target_{name}"]) for name in ("sum", "gram", "cross")))
        return result

    # -- inside

    def _checked_shift(self, shift: ArrayLike) -> Array:
        result = np.array(shift, dtype=np.float64)
        if result.shape != (self._dim,) or not np.isfinite(result).all():
            raise ValueError(f"shift must be ({self._dim},) finite numbers; got shape {result.shape}")
        return result

    def _fold(self) -> None:
        for waiting in (self._waiting, self._waiting_unlabelled):
            if waiting is not None and waiting.size:
                self._fold_one(waiting)
        self._pay()

    def _pay(self) -> None:
        if self._owed != 1.0:
            for part in (self._table.sums, self._rows, self._unlabelled, self._targets):
                if part is not None:
                    part.scale(self._owed)
            self._owed = 1.0

    def _fold_one(self, waiting: Waiting) -> None:
        self._pay()
        size, waiting.size = waiting.size, 0
        rows, weights = waiting.rows[:size], waiting.weights[:size]
        if self._shift is None:
            self._shift = rows.mean(axis=0)
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        # In place: the block is empty from here on.
        rows -= self._shift
        if waiting is self._waiting_unlabelled:
            self._unlabelled = self._unlabelled or Moments.zero(self._dim)
            self._unlabelled.add(rows, weights)
            return
        self._rows = self._rows or Moments.zero(self._dim)
        self._rows.add(rows, weights)
        if self.target_count:
            self._targets = self._targets or TargetSums.zero(self._dim, self.target_count)
            self._targets.add(rows, weights, waiting.targets[:size])
        if self._table.slots:
            self._table.fold(rows, self._shift, lengths, weights, waiting.slots[:size])
