"""What the guard is shown: the losses of each head on samples that have not taught it, and on the source."""

from __future__ import annotations

import json
import logging
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.guard import (
    Guard,
    NearDuplicates,
    NumberEvidence,
    SourceCheck,
    Trial,
    Verdict,
    source_check,
    within_spread,
)
from edgetl_runtime.learner import Fitted
from edgetl_runtime.store import Store
from edgetl_runtime.teaching.lineage import Lineage

__all__ = ["Judge", "stored_trial"]

logger = logging.getLogger(__name__)

_MOST_VARIANCES = 4.0

_LATELY = 1024  # samples that are looked at again after a restart

Losses = NDArray[np.float64]


class Judge:
    """The guard of one session, with the heads that it compares. Not safe between threads."""

    def __init__(
        self, store: Store, lineage: Lineage, member: HeadMember, source: Optional[SourceSamples], policy: str
    ) -> None:
        self._store, self._lineage, self._member, self._source = store, lineage, member, source
        self._policy = policy
        # Numbers have no classes; their squared errors are in variances and cut at four of them.
        self._numbers = member.target_count > 0
        self.guard = self._new_guard()
        # Of few heads: dropped together with the heads themselves.
        self._on_source: Dict[int, Tuple[Fitted, Losses]] = {}
        self._previous: Tuple[int, Optional[Fitted]] = (0, None)
        self._seen: Optional[Union[NearDuplicates, NumberEvidence]] = None

    @property
    def judges(self) -> bool:
        """Whether the policy judges at all; with "immediate" nothing is scored."""
        return self.guard.policy.judges

    def restore(self) -> None:
        """The guard as it was: its state when the pointer was moved, and the trials since.

        After forgetting that state is not kept: then all trials that are left are judged again, and told between
        them is every move of the pointer that they were met with.
        """
        self.guard = self._new_guard()
        self._seen = None
        live: Optional[int] = None
        pointer = self._lineage.pointer
        if pointer.guard:
            try:
                self.guard = Guard.from_state({**json.loads(pointer.guard), "policy": self._policy})
            except (KeyError, TypeError, ValueError) as error:
                logger.warning("state %s: the guard begins anew: %s", self._store.path, error)
        for block in self._store.samples.load(since=pointer.since):
            for text, label, source, number in zip(block.trials, block.labels, block.sources, block.generations):
                if live is not None and number != live:
                    self.guard.promoted() if number > live else self.guard.rolled_back()
                live = number
                if text is not None:
                    self._take(text, label, source)

    def try_out(
        self, features: NDArray[np.float32], labels: Sequence[str], source: str, on_purpose: bool,
        candidate: Optional[Fitted],
    ) -> List[Trial]:
        """The trials of samples (features (N, D), labels (N)) that have taught nobody yet; `held` is left open."""
        live = self._lineage.live.fitted
        known = set(live.head.classes)
        champion = live.losses(features, labels)
        challenger = champion if candidate is None else candidate.losses(features, labels)
        factory = self._lineage.factory.fitted.losses(features, labels)
        before = self._before()
        previous = None if before is None else before.losses(features, labels)
        said = [None] * len(labels) if self._numbers else self._lineage.factory.fitted.head.predict(features).tolist()
        weights = self._weights(features)
        return [
            Trial(
                None if self._numbers else label, float(champion[i]), float(challenger[i]), float(factory[i]),
                None if previous is None else float(previous[i]), said[i],
                on_purpose=on_purpose, known=self._numbers or label in known, source=source,
                weight=float(weights[i]),
            )
            for i, label in enumerate(labels)
        ]  # fmt: skip

    def judge(self, candidate: Optional[Fitted]) -> Verdict:
        """What the guard says of the candidate now."""
        return self.guard.judge(None if candidate is None or not self.judges else self._check(candidate))

    def after(self, decision: str) -> Tuple[Guard, str]:
        """The guard when that will have been done, and its state for the pointer; `guard` itself stays as it is."""
        if not self.judges:
            return self.guard, ""
        guard = Guard.from_state(self.guard.state())
        # An adapted head is no newer head of the learner, which has to prove itself against it anew.
        if decision != "promote":
            guard.rolled_back()
        if decision != "roll back":
            guard.promoted()
        return guard, json.dumps(guard.state(), sort_keys=True)

    def state(self) -> str:
        """The guard as the pointer keeps it."""
        return json.dumps(self.guard.state(), sort_keys=True)

    def _take(self, text: str, label: str, source: str) -> None:
        try:
            named = None if self._numbers else label
            self.guard.add([Trial.from_json({**json.loads(text), "label": named, "source": source})])
        except (TypeError, ValueError) as error:
            logger.warning("state %s: a trial is not understood and does not count: %s", self._store.path, error)

    def _weights(self, features: NDArray[np.float32]) -> Losses:
        """What each sample (N) counts beside those judged lately: a scene that is shown again is no evidence again."""
        if self._seen is None:
            source = self._member.source
            self._seen = NumberEvidence(source) if self._numbers else NearDuplicates(within_spread(source))
            for block in self._store.samples.load(since=self._store.samples.last_id() - _LATELY):
                self._seen.add(block.features)
        if isinstance(self._seen, NumberEvidence):
            return self._seen.add(features)
        return np.where(self._seen.add(features), 0.0, 1.0)

    def _new_guard(self) -> Guard:
        return Guard(self._policy, _MOST_VARIANCES if self._numbers else 1.0)

    def _before(self) -> Optional[Fitted]:
        if not self.guard.on_trial:
            return None
        number = self._lineage.pointer.previous
        if number == 0:
            return self._lineage.factory.fitted
        if self._previous[0] != number:
            self._previous = number, self._lineage.fitted(number)
        return self._previous[1]

    def _check(self, candidate: Fitted) -> Optional[SourceCheck]:
        if self._source is None or not len(self._source.labels):
            return None
        heads = (self._lineage.live.fitted, candidate, self._lineage.factory.fitted)
        known = {id(fitted): (fitted, self._losses_on_source(fitted)) for fitted in heads}
        self._on_source = known
        losses = [known[id(fitted)][1] for fitted in heads]
        if self._numbers:
            cut = [np.minimum(values, _MOST_VARIANCES) for values in losses]
            return source_check(["numbers"] * len(self._source.labels), *cut)
        return source_check(self._source.labels, *losses)

    def _losses_on_source(self, fitted: Fitted) -> Losses:
        found = self._on_source.get(id(fitted))
        if found is not None:
            return found[1]
        assert self._source is not None
        return fitted.losses(self._source.features, self._source.labels)


def stored_trial(trial: Trial) -> str:
    """JSON of a trial without what its sample says already."""
    data = trial.to_json()
    del data["label"], data["source"]
    return json.dumps(data, sort_keys=True)
