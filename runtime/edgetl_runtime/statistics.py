"""The additive core: everything that learning accumulates, from which heads follow in closed form.

A commutative group in float64: `a + b` merges devices, `a - b` forgets. Sums are kept about a fixed shift
(the source mean), because squares of unshifted ReLU features lose the digits that the answer needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import FeatureSpaceError, LabelError, SampleError, StatisticsError
from edgetl_runtime.labels import checked_label, checked_labels, ordered_labels
from edgetl_runtime.moments import ClassSums, Moments, TargetSums
from edgetl_runtime.numerics import pack_symmetric, unpack_symmetric
from edgetl_runtime.types import Label

__all__ = ["Statistics", "checked_features"]

Array = NDArray[np.float64]

# Rows that wait before one symmetric product folds them in: from here on a larger block gains little.
_BLOCK = 512
_FORMAT = 1


@dataclass
class _Waiting:
    """Rows that wait for the next fold, exactly as they came."""

    rows: Array
    weights: Array
    classes: NDArray[np.int64]
    targets: Array
    size: int = 0


class Statistics:
    """Sums of features (N, D), per class for labels (N) and crossed with targets (N, Q), in float64.

    `shift` (D) is what is subtracted from every feature before squaring: the source mean. None takes the
    mean of the first rows. `feature_space` names the extractor build; operands of another are refused.
    Every sample of one object has labels, or targets, or both; `add_unlabelled` goes with any of them.

    Adding one sample costs O(D) and, amortised over blocks of 512 rows, one row's share of a symmetric
    product, O(D^2 / 2). Memory: 8 D^2 bytes, as much again with unlabelled samples, 4 KiB x D of waiting
    rows and 24 K D. Exact to merge, to forget, and in any order, to rounding. Blocks follow the order of
    arrival, so how a stream is cut into calls changes not a single bit; reading in between does fold.
    """

    def __init__(self, dim: int, shift: Optional[ArrayLike] = None, feature_space: Optional[str] = None) -> None:
        if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or dim < 1:
            raise ValueError(f"dim must be a positive integer, the length of a feature vector; got {dim!r}")
        self._dim = int(dim)
        self._feature_space = feature_space
        self._shift: Optional[Array] = None if shift is None else self._checked_shift(shift)
        self._slots: Dict[Label, int] = {}
        self._counts: List[float] = []
        self._by_class: Optional[ClassSums] = None
        self._rows: Optional[Moments] = None
        self._unlabelled: Optional[Moments] = None
        self._targets: Optional[TargetSums] = None
        # What every sample has, once the first came: (labels?, Q).
        self._kind: Optional[Tuple[bool, int]] = None
        self._waiting: Optional[_Waiting] = None
        self._waiting_unlabelled: Optional[_Waiting] = None
        # Forgetting that the folded sums still owe; kept apart so that decay costs O(K).
        self._owed = 1.0

    def __repr__(self) -> str:
        return f"Statistics(dim={self._dim}, classes={len(self._slots)}, count={self.count:g})"

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
        values = None if targets is None else _checked_targets(targets, len(rows))
        scale = _checked_weights(weights, len(rows))
        kind = (names is not None, 0 if values is None else values.shape[1])
        if self._kind is not None and kind != self._kind:
            raise StatisticsError(
                f"these statistics hold samples with (labels, Q) = {self._kind}, got {kind}; keep one Statistics a task"
            )
        if len(rows) == 0:
            return
        self._kind = kind
        classes = np.zeros(len(rows), dtype=np.int64)
        for position, name in enumerate(names or ()):
            slot = self._slots.get(name)
            if slot is None:
                slot = self._slots[name] = len(self._counts)
                self._counts.append(0.0)
            classes[position] = slot
            self._counts[slot] += 1.0 if scale is None else float(scale[position])
        if self._waiting is None:
            self._waiting = self._new_waiting(kind[1])
        self._queue(self._waiting, rows, scale, classes, values)

    def add_unlabelled(self, features: ArrayLike, weights: Optional[ArrayLike] = None) -> None:
        """Add features (N, D) of which nobody knows the label; kept apart from the others."""
        rows = checked_features(features, self._dim)
        scale = _checked_weights(weights, len(rows))
        if self._waiting_unlabelled is None:
            self._waiting_unlabelled = self._new_waiting(0)
        self._queue(self._waiting_unlabelled, rows, scale, None, None)

    def decay(self, factor: float) -> None:
        """Exponential forgetting: every weight so far is multiplied by `factor` in (0, 1]. Costs O(K)."""
        if not 0.0 < factor <= 1.0:
            raise ValueError(f"the factor must be in (0, 1]; got {factor}")
        self._counts = [count * factor for count in self._counts]
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
        return ordered_labels(self._slots)

    @property
    def counts(self) -> Array:
        """Weight of the samples of each class (K), in the order of `classes`."""
        return np.array([self._counts[self._slots[label]] for label in self.classes], dtype=np.float64)

    @property
    def count(self) -> float:
        """Weight of all samples with a label or target."""
        if self._kind is not None and self._kind[0]:
            return float(sum(self._counts))
        return self.moments.count

    @property
    def target_count(self) -> int:
        """Q, zero without targets."""
        return 0 if self._kind is None else self._kind[1]

    @property
    def by_class(self) -> ClassSums:
        """Sums of each class (K, D), in the order of `classes`, as new arrays."""
        self._fold()
        slots = [self._slots[label] for label in self.classes]
        return ClassSums.zero(0, self._dim) if self._by_class is None else self._by_class.taken(slots)

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
        if self._slots:
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
        result._counts = [count * factor for count in result._counts]
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
            if result._by_class is not None:
                held = len(result._by_class.sums)
                result._by_class.move(by, np.array(result._counts + [0.0] * (held - len(result._counts))))
            result._rows = None if result._rows is None else result._rows.moved(by)
            result._unlabelled = None if result._unlabelled is None else result._unlabelled.moved(by)
            if result._targets is not None:
                result._targets.cross += np.outer(by, result._targets.sum)
        return result

    def copy(self) -> Statistics:
        """The same sums in arrays of their own."""
        self._fold()
        result = Statistics(self._dim, self._shift, self._feature_space)
        result._slots = dict(self._slots)
        result._counts = list(self._counts)
        result._by_class = None if self._by_class is None else self._by_class.taken(list(range(len(self._counts))))
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
        for label, slot in other._slots.items():
            if label not in result._slots:
                if sign < 0:
                    raise StatisticsError(f"the class {label!r} is not in here, so it cannot be subtracted")
                result._slots[label] = len(result._counts)
                result._counts.append(0.0)
            result._counts[result._slots[label]] += sign * other._counts[slot]
        if other._by_class is not None:
            result._by_class = (result._by_class or ClassSums.zero(0, self._dim)).grown(len(result._counts))
            mine = [result._slots[label] for label in other._slots]
            for total, part in zip(result._by_class.arrays(), other._by_class.arrays()):
                total[mine] += sign * part[list(other._slots.values())]
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
        kept = {}
        for label, slot in self._slots.items():
            tolerance = 1e-9 * whole._counts[whole._slots[label]]
            if self._counts[slot] < -tolerance:
                raise StatisticsError(f"the class {label!r} would have a count of {self._counts[slot]:g}: {hint}")
            if self._counts[slot] > tolerance:
                kept[label] = slot
        if self._by_class is not None:
            self._by_class = self._by_class.taken(list(kept.values()))
        self._counts = [self._counts[slot] for slot in kept.values()]
        self._slots = {label: slot for slot, label in enumerate(kept)}
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
        if self._slots:
            by_class = self.by_class
            arrays["counts"] = self.counts
            arrays.update(sums=by_class.sums, squares=by_class.squares, directions=by_class.directions)
        for prefix, moments in (("", self._rows), ("unlabelled_", self._unlabelled)):
            if moments is not None:
                arrays[prefix + "count"] = np.array([moments.count])
                arrays[prefix + "sum"] = moments.sum.copy()
                arrays[prefix + "gram"] = pack_symmetric(moments.gram)
                arrays[prefix + "cubic"] = moments.cubic.copy()
                arrays[prefix + "quartic"] = np.array([moments.quartic])
        if self._targets is not None:
            targets = self._targets
            arrays["target_sum"], arrays["target_gram"] = targets.sum.copy(), targets.gram.copy()
            arrays["target_cross"] = targets.cross.copy()
        return arrays

    def metadata(self) -> Dict[str, Any]:
        """What `from_state` needs beside the arrays, as JSON has it."""
        return {
            "format": _FORMAT,
            "dim": self._dim,
            "feature_space": self._feature_space,
            "classes": list(self.classes),
            "labels": None if self._kind is None else self._kind[0],
            "target_count": self.target_count,
        }

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Statistics:
        """The statistics of `state()` and `metadata()`, bit for bit; raises StatisticsError on anything else."""
        problem = _problem_of_metadata(metadata)
        if problem is not None:
            raise StatisticsError(f"these are not statistics of format {_FORMAT}: {problem}")
        result = cls(metadata["dim"], None, metadata["feature_space"])
        dim, classes, q = result._dim, metadata["classes"], metadata["target_count"]
        kind = None if metadata["labels"] is None else (metadata["labels"], q)
        names = {*arrays}
        shapes: Dict[str, Tuple[int, ...]] = {"shift": (dim,)} if "shift" in names else {}
        if classes:
            shapes.update({name: (len(classes), dim) for name in ("sums", "squares", "directions")})
            shapes["counts"] = (len(classes),)
        packed = (dim * (dim + 1) // 2,)
        rows = {"count": (1,), "sum": (dim,), "gram": packed, "cubic": (dim,), "quartic": (1,)}
        for prefix, wanted in (("", kind is not None), ("unlabelled_", "unlabelled_count" in names)):
            if wanted:
                shapes.update({prefix + name: shape for name, shape in rows.items()})
        if q:
            shapes.update(target_sum=(q,), target_gram=(q, q), target_cross=(dim, q))
        _check_arrays(arrays, shapes)
        result._kind = kind
        result._shift = np.array(arrays["shift"]) if "shift" in names else None
        result._slots = {label: slot for slot, label in enumerate(classes)}
        if classes:
            result._counts = [float(count) for count in arrays["counts"]]
            result._by_class = ClassSums(*(np.array(arrays[name]) for name in ("sums", "squares", "directions")))
        loaded = []
        for prefix in ("", "unlabelled_"):
            present = prefix + "count" in shapes
            loaded.append(_loaded_moments(arrays, prefix, dim) if present else None)
        result._rows, result._unlabelled = loaded
        if q:
            result._targets = TargetSums(*(np.array(arrays[f"target_{name}"]) for name in ("sum", "gram", "cross")))
        return result

    # -- inside

    def _checked_shift(self, shift: ArrayLike) -> Array:
        result = np.array(shift, dtype=np.float64)
        if result.shape != (self._dim,) or not np.isfinite(result).all():
            raise ValueError(f"shift must be ({self._dim},) finite numbers; got shape {result.shape}")
        return result

    def _new_waiting(self, q: int) -> _Waiting:
        return _Waiting(
            np.empty((_BLOCK, self._dim)), np.empty(_BLOCK), np.empty(_BLOCK, np.int64), np.empty((_BLOCK, q))
        )

    def _queue(
        self,
        waiting: _Waiting,
        rows: NDArray[Any],
        weights: Optional[Array],
        classes: Optional[NDArray[np.int64]],
        targets: Optional[Array],
    ) -> None:
        start = 0
        while start < len(rows):
            size = min(_BLOCK - waiting.size, len(rows) - start)
            here = slice(waiting.size, waiting.size + size)
            there = slice(start, start + size)
            waiting.rows[here] = rows[there]
            waiting.weights[here] = 1.0 if weights is None else weights[there]
            waiting.classes[here] = 0 if classes is None else classes[there]
            if targets is not None:
                waiting.targets[here] = targets[there]
            waiting.size += size
            start += size
            if waiting.size == _BLOCK:
                self._fold_one(waiting)

    def _fold(self) -> None:
        for waiting in (self._waiting, self._waiting_unlabelled):
            if waiting is not None and waiting.size:
                self._fold_one(waiting)
        self._pay()

    def _pay(self) -> None:
        if self._owed != 1.0:
            for part in (self._by_class, self._rows, self._unlabelled, self._targets):
                if part is not None:
                    part.scale(self._owed)
            self._owed = 1.0

    def _fold_one(self, waiting: _Waiting) -> None:
        self._pay()
        size, waiting.size = waiting.size, 0
        raw, weights = waiting.rows[:size], waiting.weights[:size]
        if self._shift is None:
            self._shift = raw.mean(axis=0)
        rows = raw - self._shift
        if waiting is self._waiting_unlabelled:
            self._unlabelled = self._unlabelled or Moments.zero(self._dim)
            self._unlabelled.add(rows, weights)
            return
        self._rows = self._rows or Moments.zero(self._dim)
        self._rows.add(rows, weights)
        if self._counts:
            self._by_class = (self._by_class or ClassSums.zero(0, self._dim)).grown(len(self._counts))
            self._by_class.add(raw, rows, weights, waiting.classes[:size])
        if self.target_count:
            self._targets = self._targets or TargetSums.zero(self._dim, self.target_count)
            self._targets.add(rows, weights, waiting.targets[:size])


def checked_features(features: ArrayLike, dim: int) -> NDArray[Any]:
    """Features (N, D) of finite numbers as an array, not copied; raises SampleError."""
    rows = np.asarray(features)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise SampleError(f"features must have shape (N, {dim}), one row a sample; got {rows.shape}")
    if rows.dtype.kind not in "fiu":
        raise SampleError(f"features must be numbers; got dtype {rows.dtype}")
    if not np.isfinite(rows).all():
        raise SampleError("the features hold NaN or infinite values; check the sample, nothing was learnt from it")
    return rows


def _checked_targets(targets: ArrayLike, count: int) -> Array:
    values = np.asarray(targets, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != count or values.shape[1] == 0:
        raise LabelError(f"targets must have shape ({count}, Q); got {np.shape(targets)}")
    if not np.isfinite(values).all():
        raise LabelError("the targets hold NaN or infinite values; nothing was learnt")
    return values


def _checked_weights(weights: Optional[ArrayLike], count: int) -> Optional[Array]:
    if weights is None:
        return None
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (count,) or not np.isfinite(values).all() or not (values > 0).all():
        raise SampleError(f"weights must be ({count},) positive finite numbers; got shape {values.shape}")
    return values


def _problem_of_metadata(metadata: Mapping[str, Any]) -> Optional[str]:
    keys = {"format", "dim", "feature_space", "classes", "labels", "target_count"}
    if not isinstance(metadata, Mapping) or set(metadata) != keys:
        return f"the keys are not exactly {sorted(keys)}"
    dim, q, classes = metadata["dim"], metadata["target_count"], metadata["classes"]
    if metadata["format"] != _FORMAT:
        return f"the format is {metadata['format']!r}"
    if type(dim) is not int or not 0 < dim < 2**20 or type(q) is not int or not 0 <= q < 2**20:
        return f"dim is {dim!r} and target_count {q!r}"
    if not (metadata["feature_space"] is None or isinstance(metadata["feature_space"], str)):
        return "feature_space is neither null nor a string"
    if metadata["labels"] not in (None, True, False) or (metadata["labels"] is None and (q or classes)):
        return f"labels is {metadata['labels']!r}"
    if not isinstance(classes, list) or (classes and not metadata["labels"]):
        return "classes is not a list, or there are classes without labels"
    try:
        if list(ordered_labels([checked_label(label) for label in classes])) != classes:
            return "classes are not distinct and in order"
    except LabelError as error:
        return str(error)
    return None


def _check_arrays(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, Tuple[int, ...]]) -> None:
    if set(arrays) != set(shapes):
        raise StatisticsError(f"statistics need exactly the arrays {sorted(shapes)}; got {sorted(arrays)}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != shape:
            raise StatisticsError(f"{name} must be float64 {shape}; got {array.dtype} {array.shape}")
        if not np.isfinite(array).all():
            raise StatisticsError(f"{name} holds NaN or infinite values")
    for name in ("counts", "count", "unlabelled_count", "squares", "quartic", "unlabelled_quartic"):
        if name in arrays and (arrays[name] < 0).any():
            raise StatisticsError(f"{name} holds negative values")
    if "counts" in arrays and abs(arrays["counts"].sum() - arrays["count"][0]) > 1e-6 * arrays["count"][0]:
        raise StatisticsError("the counts of the classes do not add up to the count of all samples")


def _loaded_moments(arrays: Mapping[str, NDArray[Any]], prefix: str, dim: int) -> Moments:
    gram = unpack_symmetric(arrays[prefix + "gram"], dim)
    if (np.diagonal(gram) < 0).any():
        raise StatisticsError(f"{prefix}gram has negative squares on its diagonal")
    return Moments(
        float(arrays[prefix + "count"][0]),
        np.array(arrays[prefix + "sum"]),
        gram,
        np.array(arrays[prefix + "cubic"]),
        float(arrays[prefix + "quartic"][0]),
    )
