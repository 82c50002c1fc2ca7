"""The learning half of a session, in memory: what was learnt, and the head that follows from it."""

from __future__ import annotations

from typing import Dict, NamedTuple, Sequence

from numpy.typing import ArrayLike

from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import Head, fit_head
from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.outliers import OutlierScore, fit_outliers
from edgetl_runtime.statistics import Statistics

__all__ = ["Fitted", "Learner"]


class Fitted(NamedTuple):
    """A head, and how far a sample lies from all that it knows."""

    head: Head
    outliers: OutlierScore


class Learner:
    """What one device learnt on top of a bundle's head member. Empty at first; not safe between threads."""

    def __init__(self, member: HeadMember) -> None:
        source = member.source
        self.member = member
        self._learnt = Statistics(source.dim, shift=source.shift, feature_space=source.feature_space)

    @property
    def counts(self) -> Dict[str, int]:
        """Number of learnt samples by label."""
        return {str(c): round(float(n)) for c, n in zip(self._learnt.classes, self._learnt.counts)}

    def add(self, features: ArrayLike, labels: Sequence[str]) -> None:
        """Learn features (N, D) with their labels."""
        self._learnt.add(features, labels)

    def fit(self) -> Fitted:
        """The head of the source and all that was learnt; the factory head while that is nothing."""
        head = self._fitted() if self._learnt.count else self.member.factory
        return Fitted(head, self._outliers(head))

    def check(self) -> None:
        """Raises TypeError or ValueError when the bundle's options could never fit a head."""
        self._outliers(self._fitted())

    def _fitted(self) -> Head:
        head = fit_head(self.member.head, self._learnt, prior=self.member.source, **self.member.options)
        # The host calibrated the factory head on samples it had not seen; its successors inherit that.
        return head.with_temperature(float(self.member.factory.metadata().get("temperature", 1.0)))

    def _outliers(self, head: Head) -> OutlierScore:
        # A linear discriminant lends its factorisation to the outlier score; other heads have none to lend.
        lender = head if isinstance(head, LinearHead) and head.name == "slda" else None
        # How often a class comes is no part of how far a sample lies from it.
        options = {name: value for name, value in self.member.options.items() if name != "priors"} if lender else {}
        return fit_outliers(self._learnt, self.member.source, lender, **options)
