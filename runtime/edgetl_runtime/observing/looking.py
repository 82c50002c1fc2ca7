"""One look at what was seen: the diagnosis, and the adapters that it puts before the guard."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.adapt import POLICY, Situation, challengers, is_adapted
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.drift import Diagnosis, Reference, diagnose
from edgetl_runtime.heads import Head, TargetHead
from edgetl_runtime.learner import Fitted, Learner

__all__ = ["GuardSamples", "Offer", "Offers", "base_reference", "diagnosed", "offers"]

Array = NDArray[np.float64]

_LEAST_PART = 40
# A head that says fewer different things than half of what it said before has collapsed.
_COLLAPSED = 0.5
_SURER, _STRANGER = 0.1, 0.5


class GuardSamples(Protocol):
    """The guard set of a bundle: samples of the source that no head was trained on."""

    @property
    def features(self) -> NDArray[np.float32]:
        """Features (M, D)."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Labels (M)."""
        ...


@dataclass(frozen=True)
class Offer:
    """A challenger that an adapter made: what it is made of, the share of answers it changes, what speaks against
    it without any label."""

    adapter: str
    fitted: Fitted
    samples: int
    changes: float
    alarms: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Offers:
    """All of one look, the likeliest first; by name why others were refused."""

    kind: str
    why: str
    offered: Tuple[Offer, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


class _OneClass:
    """A head for real numbers, as the drift tests need one: it knows one thing, so only features are compared."""

    classes = ("numbers",)

    def predict_proba(self, features: ArrayLike) -> Array:
        return np.ones((len(np.asarray(features)), 1))


@dataclass(frozen=True)
class _Distances:
    fitted: Fitted

    def score(self, features: ArrayLike) -> Array:
        return self.fitted.outlier(features)


def base_reference(
    base: Fitted, member: HeadMember, source: Optional[GuardSamples], before: Optional[Reference] = None
) -> Optional[Reference]:
    """What it looks like when nothing has changed, under the head `base`: the bundle's guard set.

    `before` is the reference of another head of the same bundle and lends its directions. None without a guard set.
    """
    if source is None or not len(source.labels):
        return None
    numbers = isinstance(base.head, TargetHead)
    head: Any = _OneClass() if numbers else base.head
    score: Any = _Distances(base) if numbers else base.outliers
    labels = ["numbers"] * len(source.labels) if numbers else list(source.labels)
    if before is None:
        return Reference.of(head, member.source, source.features, labels, score)
    index = {label: place for place, label in enumerate(head.classes)}
    truth = np.array([index.get(label, -1) for label in labels], dtype=np.int64)
    fresh = replace(before, head=head, score=score, truth=truth)
    return replace(fresh, sight=fresh.see(source.features))


def diagnosed(reference: Reference, features: ArrayLike, alpha: float = 0.01) -> Tuple[Diagnosis, int]:
    """What changed, of features (N, D) in order of time; and from which of them on.

    Asked of all of them, of the newest half, quarter, ..., each at an equal share of `alpha`; the longest part in
    which something changed answers. A step in the middle of all would pass for samples that hang on each other, and
    what came before it is nothing to adapt to. `alpha` is that of one look: a session looks again and again.
    """
    sight = reference.see(features)
    count = len(sight)
    starts = [0]
    while count - starts[-1] >= 2 * _LEAST_PART:
        starts.append(count - (count - starts[-1]) // 2)
    parts = [(sight.taken(np.arange(start, count)), start) for start in starts]
    looks = [(diagnose(reference, part, alpha / len(starts)), start) for part, start in parts]
    changed = [look for look in looks if look[0].kind != "none"]
    return changed[0] if changed else max(looks, key=lambda look: look[0].independent)


def offers(
    diagnosis: Diagnosis, base: Fitted, reference: Reference, member: HeadMember, features: NDArray[np.float32],
    labelled: Optional[NDArray[np.float32]], labels: Sequence[str],
) -> Offers:  # fmt: skip
    """The challengers that the diagnosis asks for, from features (N, D) and the samples (L, D) that were learnt here.

    Each learns from the samples again, gone through its map. Refused are skewed buffers and heads whose answers
    collapse; nothing is judged here.
    """
    if isinstance(base.head, TargetHead):
        return Offers(diagnosis.kind, "adapters are for classes; this head gives numbers", (), {})
    if not POLICY[diagnosis.kind].adapters:
        return Offers(diagnosis.kind, POLICY[diagnosis.kind].why, (), {})

    def fit(rows: Array, names: Sequence[Any]) -> Head:
        learner = Learner(member)
        learner.add(rows, [str(name) for name in names])
        return learner.fit().head

    rows = np.asarray(features, dtype=np.float64)
    taught = None if labelled is None else np.asarray(labelled, dtype=np.float64)
    situation = Situation(base.head, member.source, rows, reference, taught, tuple(labels), fit if labels else None)
    made = challengers(diagnosis, situation)
    refused: Dict[str, str] = dict(made.refused)
    found = []
    before = base.head.predict_proba(rows)
    for one in made.adapted:
        if not is_adapted(one.head):
            refused[one.adapter] = "it makes nothing that learning alone would not make"
            continue
        after = one.head.predict_proba(rows)
        against = _collapse(before, after)
        if against:
            refused[one.adapter] = against
            continue
        said, says = (_named(head, shares) for head, shares in ((base.head, before), (one.head, after)))
        changes = float(np.mean([old != new for old, new in zip(said, says)]))
        fitted = Fitted(one.head, _recentred(base, reference, rows))
        found.append(Offer(one.adapter, fitted, len(rows), changes, _alarms(before, after, changes)))
    return Offers(diagnosis.kind, made.why, tuple(found), refused)


def _named(head: Head, shares: Array) -> Sequence[Any]:
    return [head.classes[place] for place in shares.argmax(axis=1)]


def _entropy(shares: Array) -> float:
    counts = np.bincount(shares.argmax(axis=1), minlength=shares.shape[1]) / len(shares)
    return float(-(counts * np.log(np.maximum(counts, 1e-300))).sum())


def _collapse(before: Array, after: Array) -> str:
    if not np.isfinite(after).all():
        return "its answers are no numbers"
    old, new = _entropy(before), _entropy(after)
    if new < _COLLAPSED * old:
        return f"its answers collapse: their entropy falls from {old:.2f} to {new:.2f}"
    return ""


def _alarms(before: Array, after: Array, changes: float) -> Tuple[str, ...]:
    surer = float(after.max(axis=1).mean() - before.max(axis=1).mean())
    if surer > _SURER and changes > _STRANGER:
        return (f"it is surer by {surer:.2f} and says otherwise in {100 * changes:.0f} % of the samples",)
    return ()


def _recentred(base: Fitted, reference: Reference, rows: Array) -> Any:
    """The outlier score, moved so that the samples of the new domain are as typical as those of the source were.

    Exact where the whole domain moved; a sample that was unlike anything there stays so here.
    """
    gap = float(np.median(base.outliers.score(rows)) - np.median(reference.sight.outliers))
    return replace(base.outliers, constant=base.outliers.constant - gap)
