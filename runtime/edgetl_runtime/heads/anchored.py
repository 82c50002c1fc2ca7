"""A learnt head that leaves to the factory head what looks like the factory's own samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.linear import LinearHead, labels_of, load_linear
from edgetl_runtime.heads.operands import operands
from edgetl_runtime.heads.protocol import Explanation
from edgetl_runtime.heads.slda import covariance_parts, posterior_means
from edgetl_runtime.numerics import positive_cholesky, softmax
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["AnchoredHead", "fit_anchored", "load"]

Array = NDArray[np.float64]

# Of the source guard set the learnt head may cost this share and one standard error of what it changes.
_COST = 0.0075
# And it must be ten times as likely that a sample is of the new domain: the guard set is small, the old domain is not.
_CLEARLY = math.log(10.0)
_PARTS = {"factory": LinearHead, "learnt": LinearHead}


@dataclass(frozen=True)
class AnchoredHead:
    """Two heads; the learnt one answers where a sample is clearly nearer to a learnt class than to any of the source.

    `home` (K, D) with `home_bias` (K) are the classes of the source in the metric of the learnt discriminant: its
    largest decision value less theirs is half the difference of the two squared distances, and where that is above
    `limit` the learnt head answers; `new_limit` holds where it says a class that the factory head does not know.
    Three linear maps, O(3 K D). Decisions of the two are not comparable with each other, so rows of `decision` are
    not either.
    """

    factory: LinearHead
    learnt: LinearHead
    home: Array
    home_bias: Array
    limit: float = 0.0
    new_limit: float = 0.0

    name = "anchored"

    @property
    def classes(self) -> Tuple[Label, ...]:
        """K labels of the learnt head, which knows all of the factory's."""
        return self.learnt.classes

    @property
    def feature_space(self) -> Optional[str]:
        """The extractor build that it belongs to."""
        return self.learnt.feature_space

    @property
    def shut(self) -> bool:
        """Whether the factory head answers everything: nothing that was learnt is worth what it would cost."""
        return math.isinf(self.limit) and math.isinf(self.new_limit)

    def nearness(self, features: ArrayLike) -> Array:
        """How much nearer (N) features (N, D) are to the learnt classes than to those of the source."""
        return self._nearness(features, self.learnt.decision(features))

    def away(self, features: ArrayLike) -> NDArray[np.bool_]:
        """True (N) where the learnt head answers for features (N, D)."""
        return self._away(features, self.learnt.decision(features))

    def decision(self, features: ArrayLike) -> Array:
        """Decision values (N, K), each row of the head that answers; -inf for classes that it does not know."""
        learnt = self.learnt.decision(features)
        return self._answers(features, learnt, learnt, self.factory.decision(features), -np.inf)

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Labels (N) of features (N, D)."""
        return labels_of(self.classes, self.decision(features))

    def predict_proba(self, features: ArrayLike) -> Array:
        """Probabilities (N, K), each row of the head that answers."""
        learnt = self.learnt.decision(features)
        probable = softmax(learnt / self.learnt.temperature)
        return self._answers(features, learnt, probable, self.factory.predict_proba(features), 0.0)

    def explain(self, features: ArrayLike, reservoir: Optional[Reservoir] = None) -> Explanation:
        """Why the head that answers for this sample (1, D) decides so."""
        head = self.learnt if self.away(features).all() else self.factory
        return head.explain(features, reservoir)

    def with_temperature(self, temperature: float) -> AnchoredHead:
        """The same decisions with other probabilities, of both heads."""
        both = self.factory.with_temperature(temperature), self.learnt.with_temperature(temperature)
        return replace(self, factory=both[0], learnt=both[1])

    def state(self) -> Dict[str, Array]:
        """Named arrays of this head."""
        parts = {f"{part}.{name}": value for part in _PARTS for name, value in getattr(self, part).state().items()}
        return {**parts, "home": self.home, "home_bias": self.home_bias}

    def metadata(self) -> Dict[str, Any]:
        """What the arrays do not say, as JSON has it."""
        limits = [None if np.isinf(limit) else limit for limit in (self.limit, self.new_limit)]
        return {"head": self.name, "limits": limits, **{part: getattr(self, part).metadata() for part in _PARTS}}

    @cached_property
    def _known(self) -> NDArray[np.int64]:
        """Where the classes of the factory head stand among all."""
        places = {label: position for position, label in enumerate(self.classes)}
        return np.array([places[label] for label in self.factory.classes], dtype=np.int64)

    def _nearness(self, features: ArrayLike, learnt: Array) -> Array:
        rows = np.asarray(checked_features(features, len(self.learnt.shift)), dtype=np.float64) - self.learnt.shift
        result: Array = learnt.max(axis=1) - (rows @ self.home.T + self.home_bias).max(axis=1)
        return result

    def _away(self, features: ArrayLike, learnt: Array) -> NDArray[np.bool_]:
        limits = np.full(len(self.classes), self.new_limit)
        limits[self._known] = self.limit
        limits = limits[learnt.argmax(axis=1)]
        result: NDArray[np.bool_] = self._nearness(features, learnt) > limits
        return result

    def _answers(self, features: ArrayLike, learnt: Array, mine: Array, factory: Array, absent: float) -> Array:
        first = np.full(mine.shape, absent)
        first[:, self._known] = factory
        result: Array = np.where(self._away(features, learnt)[:, None], mine, first)
        return result


def fit_anchored(
    factory: LinearHead,
    statistics: Statistics,
    prior: Statistics,
    guard_features: ArrayLike,
    guard_labels: Union[Sequence[Label], NDArray[Any]],
    n0: float = 5.0,
    common: float = 5.0,
    shrinkage: Union[str, float] = "oas",
    trust: Optional[float] = None,
    priors: Optional[str] = None,
) -> AnchoredHead:
    """`slda` of source statistics `prior` and what was learnt, anchored to a `factory` head of the same classes.

    Learning moves the classes to the new domain and loses the old one, which no source sample is left to teach
    again; with both positions of each class kept, the nearer one says which domain a sample is of (mixture
    discriminant analysis, Hastie and Tibshirani 1996, with one mode a domain). The limits are the smallest that cost
    the guard set (N, D), source samples that nobody was trained on, no more than 0.75 % and one standard error;
    infinity, so the factory head, when none does. Beyond its limit a known class must be ten times as likely. Options
    as for `slda`, and the same cost; the head hangs on the statistics, the factory head and the guard set alone, so it
    is as exact in any order, to merge and to forget.
    """
    if not prior.classes:
        raise ValueError("there is nothing to anchor to: the source statistics have no classes")
    both = operands(statistics, prior)
    means, total = posterior_means(both, n0, common)
    matrix, count, _ = covariance_parts(both, means, shrinkage, trust)
    source = both.prior_means[both.prior_counts > 0]
    weights = count * positive_cholesky(matrix).solve(np.concatenate([means, source]).T).T
    bias = -0.5 * np.einsum("kd,kd->k", np.concatenate([means, source]), weights)
    k = len(means)
    learnt_bias = bias[:k]
    if priors == "counts":
        seen = both.learnt_counts + both.prior_counts
        learnt_bias = learnt_bias + np.log(seen / seen.sum())
    elif priors is not None:
        raise ValueError(f"priors must be None or 'counts'; got {priors!r}")
    learnt = LinearHead("slda", both.classes, both.feature_space, weights[:k], learnt_bias, both.shift, total)
    learnt = replace(learnt, temperature=factory.temperature)
    head = AnchoredHead(factory, learnt, weights[k:], bias[k:])
    if not len(guard_labels):
        return head
    truth = np.asarray(guard_labels, dtype=object)
    kept, said = (one.predict(guard_features).astype(object) for one in (factory, learnt))
    new = np.array([label not in factory.classes for label in said.tolist()])
    change = (said == truth).astype(np.int64) - (kept == truth)
    nearness = head.nearness(guard_features)
    allowed = _COST * len(truth)
    new_limit = _limit(nearness[new], change[new], np.zeros(0, np.int64), allowed)
    limit = _CLEARLY + _limit(nearness[~new], change[~new], change[new & (nearness > new_limit)], allowed)
    return replace(head, limit=limit, new_limit=new_limit)


def _limit(nearness: Array, change: NDArray[np.int64], beside: NDArray[np.int64], allowed: float) -> float:
    """The smallest limit on `nearness` (N) at which the changes (N; -1, 0, 1) above it, and those beside, may be."""
    rows = np.flatnonzero((change != 0) & (nearness > 0.0))
    rows = rows[np.argsort(nearness[rows], kind="stable")]
    lost, changed = -int(change[rows].sum() + beside.sum()), len(rows) + int((beside != 0).sum())
    limit = 0.0
    for row in rows:
        if lost + math.sqrt(changed) <= allowed:
            return limit
        # Clearly beyond it, so that no rounding makes this very sample change sides.
        limit = float(nearness[row]) * (1.0 + 1e-6)
        lost, changed = lost + int(change[row]), changed - 1
    return limit if lost + math.sqrt(changed) <= allowed else float("inf")


def load(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> AnchoredHead:
    """The head of `AnchoredHead.state()` and `metadata()`; raises StatisticsError on anything else."""
    if set(metadata) != {"head", "limits", *_PARTS}:
        raise StatisticsError(f"the metadata of an anchored head has other keys: {sorted(metadata)}")
    split: Dict[str, Dict[str, NDArray[Any]]] = {part: {} for part in (*_PARTS, "")}
    for name, array in arrays.items():
        part, _, rest = name.rpartition(".")
        if part not in split:
            raise StatisticsError(f"an anchored head has no array {name!r}")
        split[part][rest] = array
    factory, learnt = (load_linear(split[part], metadata[part]) for part in _PARTS)
    home, bias, limits = split[""].get("home"), split[""].get("home_bias"), metadata["limits"]
    dim = len(learnt.shift)
    fits = (
        home is not None and bias is not None and len(split[""]) == 2
        and home.dtype == bias.dtype == np.float64 and home.ndim == 2 and home.shape == (len(bias), dim)
        and len(bias) > 0 and len(factory.shift) == dim and factory.feature_space == learnt.feature_space
        and set(factory.classes) <= set(learnt.classes) and isinstance(limits, list) and len(limits) == 2
        and all(limit is None or (isinstance(limit, float) and limit >= 0.0) for limit in limits)
    )  # fmt: skip
    if not fits or home is None or bias is None:
        raise StatisticsError("the parts of an anchored head do not fit together")
    known, new = (float("inf") if limit is None else limit for limit in limits)
    return AnchoredHead(factory, learnt, home, bias, known, new)
