"""The learning half of a session, in memory: what was learnt, and the head that follows from it."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Type, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads import (
    AnchoredHead,
    Head,
    TargetHead,
    fit_anchored,
    fit_anchored_targets,
    fit_head,
    fit_regressor,
)
from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.labels import parsed_targets
from edgetl_runtime.outliers import OutlierScore, fit_outliers
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics, checked_features

__all__ = ["Fitted", "Learner"]

_Part = TypeVar("_Part", Statistics, Reservoir)


class Fitted(NamedTuple):
    """A head, and how far a sample lies from all that it knows."""

    head: Head
    outliers: OutlierScore

    def outlier(self, features: ArrayLike) -> NDArray[np.float64]:
        """How unlike all that is known each sample (N) of features (N, D) is; larger is less like it."""
        return self.head.distance(features) if isinstance(self.head, TargetHead) else self.outliers.score(features)

    @property
    def anchored(self) -> bool:
        """Whether the factory head goes on having a part in the answers."""
        return isinstance(self.head, AnchoredHead) or self.share is not None

    @property
    def share(self) -> Optional[float]:
        """How far an anchored head of numbers went from the factory head to what was learnt; None of another."""
        return self.head.share if isinstance(self.head, TargetHead) else None

    def said(self, member: HeadMember) -> str:
        """What kind of head this is, in words, beside the head member that it was fitted on."""
        if self.share is not None:
            way = f"{100 * self.share:.0f} % of the way from the factory head to the learnt one"
            return f"anchored {member.head}: {way}"
        if not isinstance(self.head, AnchoredHead):
            return "the factory head" if self.head is member.factory else f"{member.head} of the source and the learnt"
        if self.head.shut:
            return f"anchored {member.head}: the factory head answers everything"
        return f"anchored {member.head}: the factory head answers what looks like its own samples, the learnt the rest"

    def losses(self, features: ArrayLike, labels: Sequence[str]) -> NDArray[np.float64]:
        """What the head loses (N) on features (N, D) of those labels: 0 or 1, or a squared error in variances."""
        if isinstance(self.head, TargetHead):
            return self.head.losses(features, _targets(labels, len(self.head.spread)))
        said = self.head.predict(features).tolist()
        return np.array([float(one != other) for one, other in zip(said, labels)])


class Learner:
    """What one device learnt on top of a bundle's head member. Empty at first; not safe between threads.

    Sums over the learnt features (N, D), 8 D^2 bytes and 8 KiB x D of rows that wait; the same again for the M
    features behind the random layer of a `ridge_rp` head. For the heads that learn from stored samples also the
    reservoir of the bundle, 2 bytes x D a sample: it begins with those of the source and takes the learnt ones in,
    the largest class giving way when it is full, at up to a millisecond a sample.

    With an `anchor`, the guard set of the bundle, an `slda` head is anchored to the factory head (`fit_anchored`), so
    that it learns a new domain without losing the old one, and a head of numbers goes only so far from it as the
    guard set bears (`fit_anchored_targets`). The other heads take no notice of it: what they learn costs the old
    domain what it costs, and only the guard stands before it.
    """

    def __init__(self, member: HeadMember, anchor: Optional[SourceSamples] = None) -> None:
        source, projected, samples = member.source, member.projected, member.samples
        self.member = member
        self._anchor = anchor if anchor is not None and len(anchor.labels) else None
        self._learnt = Statistics(source.dim, shift=source.shift, feature_space=source.feature_space)
        self._projected: Optional[Statistics] = None
        if projected is not None:
            self._projected = Statistics(projected.dim, projected.shift, projected.feature_space)
        self._stored: Optional[Reservoir] = None
        if samples is not None:
            self._stored = Reservoir.from_state(samples.state(), samples.metadata())
        self._count = 0

    @property
    def exact(self) -> bool:
        """Whether learning in any order, merging and forgetting end in the same head (`HeadMember.exact`)."""
        return self.member.exact

    @property
    def counts(self) -> Dict[str, int]:
        """Number of learnt samples by label; those with targets in place of labels have one name, ""."""
        if self.member.target_count:
            return {"": round(self._learnt.count)} if self._learnt.count else {}
        return {str(c): round(float(n)) for c, n in zip(self._learnt.classes, self._learnt.counts)}

    def add(self, features: ArrayLike, labels: Sequence[str], ids: Optional[Sequence[int]] = None) -> None:
        """Learn features (N, D) with their labels, and ids that stay theirs, by default the numbers from 1.

        For a head of real numbers a label is the text of its targets (`labels.targets_text`).
        The same samples with the same ids in the same order, in any calls, end in the same head bit for bit.
        """
        rows = checked_features(features, self._learnt.dim)
        numbers = range(self._count + 1, self._count + 1 + len(rows)) if ids is None else ids
        q = self.member.target_count
        truth: Dict[str, Any] = {"targets": _targets(labels, q)} if q else {"labels": labels}
        self._learnt.add(rows, **truth)
        if self._projected is not None and self.member.layer is not None:
            self._projected.add(self.member.layer.apply(rows), **truth)
        if self._stored is not None:
            for row, label, number in zip(rows, labels, numbers):
                self._stored.add(row[None], [label], self._generator(int(number)), [int(number)])
        self._count += len(rows)

    def sums(self) -> Dict[str, Union[Statistics, Reservoir]]:
        """What was learnt, by name, without its samples: sums, and the reservoir of a head that has one. Not a copy."""
        parts: Dict[str, Union[Statistics, Reservoir]] = {"learnt": self._learnt}
        if self._projected is not None:
            parts["projected"] = self._projected
        if self._stored is not None:
            parts["stored"] = self._stored
        return parts

    def add_sums(self, sums: Mapping[str, Union[Statistics, Reservoir]]) -> None:
        """Learn what another learner of the same bundle gave as `sums`.

        A reservoir takes the place of the own one, so it must be of what came before anything that was learnt here.
        Raises FeatureSpaceError, StatisticsError, and KeyError for sums of another head; then nothing was learnt.
        """
        learnt = self._learnt + _checked(sums["learnt"], Statistics)
        projected, stored = self._projected, self._stored
        if projected is not None:
            projected = projected + _checked(sums["projected"], Statistics)
        if stored is not None:
            held = _checked(sums["stored"], Reservoir)
            if self._learnt.count or held.dim != stored.dim:
                raise StatisticsError("a reservoir is taken over before anything is learnt, and of the same features")
            stored = Reservoir.from_state(held.state(), held.metadata())
        self._learnt, self._projected, self._stored = learnt, projected, stored
        self._count = round(learnt.count)

    def fit(self) -> Fitted:
        """The head of the source and all that was learnt; the factory head while that is nothing."""
        member, head = self.member, self.member.factory
        if self._learnt.count and self._anchor is not None and _can_anchor(member):
            assert isinstance(head, LinearHead)
            head = fit_anchored(head, self._learnt, member.source, *self._anchor, **member.options)
        elif self._learnt.count and self._anchor is not None and isinstance(head, TargetHead):
            head = self._fitted_targets(head, dict(member.options), self._anchor)
        elif self._learnt.count:
            head = self._fitted()
        return Fitted(head, self._outliers(head))

    def check(self) -> None:
        """Raises TypeError or ValueError when the bundle's options could never fit a head."""
        self._outliers(self._fitted())

    def _fitted(self) -> Head:
        member = self.member
        options: Dict[str, Any] = dict(member.options)
        if isinstance(member.factory, TargetHead):
            return self._fitted_targets(member.factory, options, None)
        if self._projected is not None:
            head = fit_head(member.head, self._projected, prior=member.projected, layer=member.layer, **options)
        else:
            head = fit_head(member.head, self._learnt, prior=member.source, reservoir=self._stored, **options)
        # The host calibrated the factory head on samples it had not seen; its successors inherit that.
        return head.with_temperature(float(member.factory.metadata().get("temperature", 1.0)))

    def _fitted_targets(self, factory: TargetHead, options: Dict[str, Any], anchor: Optional[SourceSamples]) -> Head:
        member, learnt, prior = self.member, self._learnt, self.member.source
        if self._projected is not None and member.projected is not None:
            learnt, prior, options["layer"] = self._projected, member.projected, member.layer
        if anchor is not None:
            truth = _targets(anchor.labels, member.target_count)
            return fit_anchored_targets(factory, learnt, prior, anchor.features, truth, **options)
        return factory.fitted_again(fit_regressor(member.head, learnt, prior, **options))

    def _outliers(self, head: Head) -> OutlierScore:
        if isinstance(head, TargetHead):  # measures distances itself; a score by classes has nothing to say
            nothing = np.zeros((0, head.dim))
            return OutlierScore(np.zeros(head.dim), nothing, np.zeros(0), nothing.T, np.zeros(head.dim), 0.0)
        # A linear discriminant lends its factorisation to the outlier score; other heads have none to lend.
        plain = head.learnt if isinstance(head, AnchoredHead) else head
        lender = plain if isinstance(plain, LinearHead) and plain.name == "slda" else None
        # How often a class comes is no part of how far a sample lies from it.
        options = {name: value for name, value in self.member.options.items() if name != "priors"} if lender else {}
        return fit_outliers(self._learnt, self.member.source, lender, **options)

    def _generator(self, number: int) -> np.random.Generator:
        """One for each row, so that a start that re-reads the rows draws what was drawn before."""
        space = int.from_bytes(str(self.member.source.feature_space).encode(), "little")
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([space, number])))


def _can_anchor(member: HeadMember) -> bool:
    return member.head == "slda" and isinstance(member.factory, LinearHead) and bool(member.source.classes)


def _checked(part: Union[Statistics, Reservoir], kind: Type[_Part]) -> _Part:
    if not isinstance(part, kind):
        raise StatisticsError(f"expected {kind.__name__}, got {type(part).__name__}")
    return part


def _targets(labels: Sequence[str], count: int) -> NDArray[np.float64]:
    return np.array([parsed_targets(label, count) for label in labels], dtype=np.float64).reshape(len(labels), count)
