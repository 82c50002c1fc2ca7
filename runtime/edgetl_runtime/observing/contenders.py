"""Adapted heads on probation: judged by labelled samples before those teach anybody, each with a guard of its own."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.guard import POLICIES, Guard, NearDuplicates, Trial, Verdict, within_spread
from edgetl_runtime.learner import Fitted
from edgetl_runtime.observing.looking import Offer, Offers
from edgetl_runtime.statistics import Statistics

__all__ = ["Contenders", "Heard", "best_proven"]

Heard = Dict[str, List[Trial]]


# The live head learns on: what was won against one of before is no evidence against it.
_LATELY, _LOST = 16, 2.0


@dataclass
class _Contender:
    offer: Offer
    guard: Guard
    lately: Deque[float]

    def add(self, trials: Sequence[Trial]) -> None:
        """Take in trials; the evidence begins anew when of late the live head was the better one."""
        for trial in trials:
            self.guard.add([trial])
            if trial.weight > 0:
                self.lately.append(trial.champion - trial.challenger)
            if sum(self.lately) <= -_LOST:
                self.guard, self.lately = Guard(self.guard.policy.name), collections.deque(maxlen=_LATELY)

    @property
    def ahead_of_late(self) -> bool:
        """Whether it was right more often than the live head among the last samples."""
        return sum(self.lately) > 0


def best_proven(guards: Mapping[str, Guard]) -> Optional[str]:
    """The adapter that is furthest ahead among those whose guard is sure; None unless all guards together are.

    Of many that are no better one wins by luck sooner than one alone. The mean of their wealths is itself the wealth
    of a bet that none of them is better, so it must be as large as that of one would have to be.
    """
    evidence = {name: guard.judge() for name, guard in guards.items()}
    wealth = {name: verdict.evidence["wealth"]["better"] for name, verdict in evidence.items()}
    best, most = None, 0.0
    for name, verdict in evidence.items():
        lead = float(verdict.evidence["ahead"] - verdict.evidence["behind"])
        together = sum(wealth.values()) / len(wealth) >= 1.0 / guards[name].policy.promote
        if verdict.decision in ("promote", "ask") and together and lead > most:
            best, most = name, lead
    return best


class Contenders:
    """The challengers of one kind of shift. Evidence belongs to the adapter and stays when its head is made again.

    It must be ahead among the last samples too, as the live head goes on learning (`best_proven`). There is no
    check on the source: the diagnosis says that the device is not there any more; the factory head goes on being
    compared with what is live, and takes over when it is better.
    """

    def __init__(self, policy: str, source: Statistics) -> None:
        self._policy = POLICIES[policy if POLICIES[policy].judges else "guarded"]
        self._acts = POLICIES[policy].acts
        self._source = source
        self._near: Optional[NearDuplicates] = None
        self.kind, self._found = "none", Offers("none", "")
        self._all: Dict[str, _Contender] = {}
        self._kept: Dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._all)

    @property
    def refused(self) -> Mapping[str, str]:
        """Adapters that were not made, and why."""
        return self._found.refused

    def fitted(self) -> Dict[str, Fitted]:
        """The heads by adapter, the likeliest first."""
        return {name: one.offer.fitted for name, one in self._all.items()}

    def offer(self, name: str) -> Offer:
        """What stands under that name; raises KeyError."""
        return self._all[name].offer

    def put(self, found: Offers) -> None:
        """The challengers of a new look."""
        if found.kind != self.kind:
            self.forget()
        self.kind, self._found = found.kind, found
        before = self._all
        self._all = {}
        for offer in found.offered:
            have = before.get(offer.adapter)
            fresh: Deque[float] = collections.deque(maxlen=_LATELY)
            guard = self._restored(offer.adapter) if have is None else have.guard
            self._all[offer.adapter] = _Contender(offer, guard, fresh if have is None else have.lately)

    def forget(self) -> None:
        """Begin anew, as after the live head was changed by an adapter or a person."""
        self._all, self._kept, self.kind, self._found = {}, {}, "none", Offers("none", "")

    def try_out(self, features: NDArray[np.float32], labels: Sequence[str], live: Fitted, factory: Fitted) -> Heard:
        """What each loses beside the live head on samples (features (N, D), labels (N)) that have taught nobody."""
        if not self._all:
            return {}
        known = [place for place, label in enumerate(labels) if label in set(live.head.classes)]
        if not known:
            return {}
        rows, names = features[known], [labels[place] for place in known]
        if self._near is None:
            self._near = NearDuplicates(within_spread(self._source))
        near = self._near.add(rows)
        champion, first = live.losses(rows, names), factory.losses(rows, names)
        said = factory.head.predict(rows).tolist()
        heard: Heard = {}
        for name, one in self._all.items():
            losses = one.offer.fitted.losses(rows, names)
            heard[name] = [
                Trial(
                    label, float(champion[i]), float(losses[i]), float(first[i]), answer=said[i],
                    weight=0.0 if near[i] else 1.0,
                )
                for i, label in enumerate(names)
            ]  # fmt: skip
        return heard

    def add(self, heard: Heard) -> None:
        """Take in what was tried out, now that the samples are stored."""
        for name, trials in heard.items():
            if name in self._all:
                self._all[name].add(trials)

    def verdict(self) -> Optional[Tuple[str, Verdict]]:
        """The best challenger and what follows; None without any."""
        if not self._all:
            return None
        best = best_proven({name: one.guard for name, one in self._all.items()})
        if best is not None and self._all[best].ahead_of_late:
            said = self._all[best].guard.judge(alarms=self._all[best].offer.alarms)
            decision = "promote" if self._acts and said.decision == "promote" else "ask"
            return best, Verdict(decision, self._said(best, said.reason), "adapted", said.evidence)
        name = max(self._all, key=self._lead)
        judged = self._evidence(name)["judged"]
        if judged:
            reason = self._all[name].guard.judge().reason
            return name, Verdict("keep", self._said(name, reason), "adapted", self._evidence(name))
        name = next(iter(self._all))
        offer = self._all[name].offer
        reason = f"no label has judged it; it changes {100 * offer.changes:.0f} % of the answers"
        return name, Verdict("ask", self._said(name, reason), "adapted", self._evidence(name))

    def facts(self) -> List[Dict[str, Any]]:
        """Plain data of each."""
        result = []
        for name, one in self._all.items():
            evidence = self._evidence(name)
            result.append(
                {
                    "adapter": name, "samples": one.offer.samples, "changes": one.offer.changes,
                    "judged": evidence["judged"], "ahead": evidence["ahead"], "behind": evidence["behind"],
                    "chance_of_error": min(1.0, 1.0 / max(evidence["wealth"]["better"], 1e-9)),
                    "alarms": list(one.offer.alarms),
                }
            )  # fmt: skip
        return result

    def state(self) -> Dict[str, Any]:
        """The evidence as plain JSON; heads are made again."""
        guards = {**self._kept, **{name: one.guard.state() for name, one in self._all.items()}}
        return {"kind": self.kind, "guards": guards}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()` when heads of those names stand again; raises KeyError, TypeError."""
        self.kind, self._kept = str(state["kind"]), dict(state["guards"])

    def _restored(self, name: str) -> Guard:
        try:
            return Guard.from_state({**self._kept.pop(name), "policy": self._policy.name})
        except (KeyError, TypeError, ValueError):
            return Guard(self._policy.name)

    def _evidence(self, name: str) -> Dict[str, Any]:
        return self._all[name].guard.judge().evidence

    def _lead(self, name: str) -> float:
        evidence = self._evidence(name)
        return float(evidence["ahead"] - evidence["behind"])

    def _said(self, name: str, reason: str) -> str:
        return f"{self.kind}: {name}, made of {self._all[name].offer.samples} samples without labels, {reason}"
