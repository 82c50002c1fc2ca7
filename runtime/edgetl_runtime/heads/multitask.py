"""Several tasks on one feature: some labels may be missing, and all heads decide in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import LabelError, StatisticsError
from edgetl_runtime.heads.linear import LinearHead, labels_of
from edgetl_runtime.heads.regression import RegressionHead
from edgetl_runtime.labels import checked_label
from edgetl_runtime.statistics import Statistics, checked_features

__all__ = ["MultiHead", "TaskStatistics"]

Array = NDArray[np.float64]


class TaskStatistics:
    """One `Statistics` a task, named, all of one extractor and about one shift; missing labels are skipped.

    A task's values are labels (N) with None where nobody said, or targets (N, Q) with NaN rows. Tasks have
    their own Gram matrix each, 8 D^2 bytes, because they saw different samples; where all samples carry
    labels and targets together, one plain `Statistics` holds both with one matrix.
    """

    def __init__(
        self,
        dim: int,
        tasks: Mapping[str, str],
        shift: Optional[ArrayLike] = None,
        feature_space: Optional[str] = None,
    ) -> None:
        for name, kind in tasks.items():
            if kind not in ("labels", "targets"):
                raise ValueError(f"the task {name!r} must be of 'labels' or 'targets'; got {kind!r}")
        self._kinds = dict(tasks)
        self._statistics = {name: Statistics(dim, shift, feature_space) for name in tasks}

    def add(self, features: ArrayLike, **values: Union[Sequence[Any], NDArray[Any]]) -> None:
        """Add features (N, D) with the values of one or more tasks; nothing is added when any of it is wrong."""
        unknown = sorted(set(values) - set(self._kinds))
        if unknown:
            raise LabelError(f"there are no tasks {unknown}; there are {sorted(self._kinds)}")
        dim = next(iter(self._statistics.values())).dim
        rows = checked_features(features, dim)
        prepared = [(name, *self._present(name, value, len(rows))) for name, value in values.items()]
        for name, mask, kept in prepared:
            if mask.any():
                self._statistics[name].add(rows[mask], **{self._kinds[name]: kept})

    def __getitem__(self, name: str) -> Statistics:
        """The statistics of one task."""
        return self._statistics[name]

    def __add__(self, other: TaskStatistics) -> TaskStatistics:
        """All samples of both, task by task."""
        if self._kinds != other._kinds:
            raise StatisticsError(f"the operands have other tasks: {self._kinds} and {other._kinds}")
        result = TaskStatistics(1, {})
        result._kinds = dict(self._kinds)
        result._statistics = {name: mine + other[name] for name, mine in self._statistics.items()}
        return result

    def _present(self, name: str, values: Any, count: int) -> Tuple[NDArray[np.bool_], Any]:
        if len(values) != count:
            raise LabelError(f"the task {name!r} needs one value for each of {count} samples; got {len(values)}")
        if self._kinds[name] == "labels":
            mask = np.array([value is not None for value in values], dtype=np.bool_)
            return mask, [checked_label(value) for value in values if value is not None]
        targets = np.asarray(values, dtype=np.float64).reshape(count, -1)
        mask = np.logical_not(np.isnan(targets).any(axis=1))
        known = self._statistics[name].target_count
        if (known and targets.shape[1] != known) or not np.isfinite(targets[mask]).all():
            raise LabelError(f"the task {name!r} needs finite targets ({count}, {known or 'Q'}); got {targets.shape}")
        return mask, targets[mask]


@dataclass(frozen=True)
class MultiHead:
    """Linear heads and regressors by task, of the same feature: all decided by one product with (sum K + Q, D)."""

    heads: Mapping[str, Union[LinearHead, RegressionHead]]
    _weights: Array = field(init=False, repr=False, compare=False)
    _bias: Array = field(init=False, repr=False, compare=False)
    _shift: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spaces = {(head.feature_space, len(head.shift)) for head in self.heads.values()}
        if len(spaces) > 1 or any(isinstance(h, LinearHead) and h.unit for h in self.heads.values()):
            raise StatisticsError(f"heads of one pass share a feature space and are linear in it; got {spaces}")
        stacked = [head.weights for head in self.heads.values()]
        # Each head has its own shift: it goes into the bias here, in float64, about the first head's.
        first = next(iter(self.heads.values())).shift if self.heads else np.zeros(0)
        biases = [head.bias - head.weights @ (head.shift - first) for head in self.heads.values()]
        object.__setattr__(self, "_weights", np.concatenate(stacked) if stacked else np.zeros((0, 0)))
        object.__setattr__(self, "_bias", np.concatenate(biases) if biases else np.zeros(0))
        object.__setattr__(self, "_shift", first)

    def predict(self, features: ArrayLike) -> Dict[str, NDArray[Any]]:
        """Per task labels (N) or targets (N, Q) of features (N, D)."""
        rows = np.asarray(checked_features(features, len(self._shift)), dtype=np.float64) - self._shift
        values = rows @ self._weights.T + self._bias
        result: Dict[str, NDArray[Any]] = {}
        start = 0
        for name, head in self.heads.items():
            part = values[:, start : start + len(head.bias)]
            start += len(head.bias)
            result[name] = labels_of(head.classes, part) if isinstance(head, LinearHead) else part
        return result
