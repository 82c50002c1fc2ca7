"""The guard itself: a fold over trials, and the rules that turn its counts into a verdict."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from edgetl_runtime.guard.betting import Wealth
from edgetl_runtime.guard.policy import POLICIES, Policy
from edgetl_runtime.guard.records import SourceCheck, Trial, Verdict
from edgetl_runtime.types import Label

__all__ = ["Guard"]

_FORMAT = 1


class Guard:
    """Judges one champion and its challenger. Not safe between threads; no clock, no file, no chance in it.

    `add` every trial, then `judge`; tell it with `promoted` or `rolled_back` what was done. The same calls end in
    the same state, so it can be made again from stored trials, or from `state()`. `scale` bounds one loss: 1 for
    classes; for targets squared errors are cut there (about four variances of the targets).
    """

    def __init__(self, policy: str = "guarded", scale: float = 1.0) -> None:
        if policy not in POLICIES:
            raise ValueError(f"there is no policy {policy!r}; there are {sorted(POLICIES)}")
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        self.policy: Policy = POLICIES[policy]
        self.scale = float(scale)
        self._begin()

    def _begin(self) -> None:
        self._judged = 0
        self._wins: Dict[Label, float] = {}
        self._losses: Dict[Label, float] = {}
        self._new: Dict[Label, int] = {}
        self._purpose: List[Label] = []
        self._forward = Wealth()
        self._on_trial = False
        self._confirm = Wealth()
        self._against_previous = Wealth()
        self._against_factory = Wealth()

    def add(self, trials: Iterable[Trial]) -> None:
        """Take in trials in the order in which they came."""
        for trial in trials:
            self._add(trial)

    def _add(self, trial: Trial) -> None:
        if not trial.known:
            self._new[trial.label] = self._new.get(trial.label, 0) + 1
            return
        if trial.on_purpose and trial.label not in self._purpose:
            self._purpose.append(trial.label)
        if not trial.weight > 0:
            return
        self._judged += 1
        gain = self._difference(trial, trial.champion, trial.challenger)
        if gain > 0:
            self._wins[trial.label] = self._wins.get(trial.label, 0.0) + gain
        elif gain < 0:
            self._losses[trial.label] = self._losses.get(trial.label, 0.0) - gain
        self._forward.bet(gain)
        self._against_factory.bet(self._difference(trial, trial.champion, trial.factory))
        if trial.previous is not None:
            self._against_previous.bet(self._difference(trial, trial.champion, trial.previous))
            self._confirm.bet(self._difference(trial, trial.previous, trial.champion))

    def _difference(self, trial: Trial, worse: float, better: float) -> float:
        """How much less the second loses, in shares of the scale, times what the trial counts."""
        gap = min(worse, self.scale) - min(better, self.scale)
        return trial.weight * gap / self.scale

    @property
    def on_trial(self) -> bool:
        """Whether the champion was promoted and is not confirmed yet: `Trial.previous` is wanted."""
        return self._on_trial

    def judge(self, check: Optional[SourceCheck] = None, alarms: Sequence[str] = ()) -> Verdict:
        """What the trials so far and the guard set say. Changes nothing.

        `alarms` are reasons without labels (drift, sinking confidence): they turn a promotion into a question.
        """
        policy = self.policy
        evidence = self._evidence(check)
        if not policy.judges:
            return Verdict("promote", "policy immediate: everything learnt is live at once", "", evidence)
        back = self._worse()
        if back is not None:
            decision = "roll back" if policy.acts else "ask"
            return Verdict(decision, back[1], back[0] if policy.acts else "roll back", evidence)
        cost = self._cost(check)
        why = self._better()
        if why is None or cost is not None:
            return Verdict("keep", cost if why is not None and cost is not None else self._waiting(), "", evidence)
        if alarms:
            return Verdict("ask", f"{why}; but {', '.join(alarms)}", "promote", evidence)
        return Verdict("promote" if policy.acts else "ask", why, "" if policy.acts else "promote", evidence)

    def promoted(self) -> None:
        """The challenger is live now, on trial; evidence for it goes on as evidence for its confirmation."""
        wealth = self._forward
        self._begin()
        self._on_trial, self._confirm = True, wealth

    def rolled_back(self) -> None:
        """An earlier head is live again; judging starts anew."""
        self._begin()

    def _worse(self) -> Optional[Tuple[str, str]]:
        limit = 1.0 / self.policy.roll_back
        if self._on_trial and self._against_previous.value >= limit:
            return "previous", f"on trial it was worse than the head before it: {self._sure(self._against_previous)}"
        if self._against_factory.value >= limit:
            return "factory", f"it is worse than the factory head: {self._sure(self._against_factory)}"
        return None

    def _better(self) -> Optional[str]:
        if self._new:
            names = ", ".join(str(label) for label in self._new)
            return f"new class {names}: the live head has never heard of it"
        if self._purpose:
            return f"taught on purpose: {', '.join(str(label) for label in self._purpose)}"
        policy = self.policy
        if self._judged < policy.least_labels or len(self._wins) < policy.least_classes:
            return None
        if self._forward.value < 1.0 / policy.promote:
            return None
        return f"{self._counted()}: {self._sure(self._forward)}"

    def _cost(self, check: Optional[SourceCheck]) -> Optional[str]:
        if check is None or not sum(check.counts):
            return None
        total = sum(check.counts)
        lost = sum(n * (a - b) for n, a, b in zip(check.counts, check.challenger, check.factory)) / self.scale
        for label, n, a, b in zip(check.classes, check.counts, check.challenger, check.factory):
            if (a - b) / self.scale > self.policy.class_forgetting:
                return f"class {label} suffers: {round(n * (a - b) / self.scale)} of {n} source samples more are wrong"
        if lost / total > self.policy.forgetting:
            return f"it forgets: {round(lost)} of {total} source samples more are wrong"
        return None

    def _counted(self) -> str:
        ahead = sum(self._wins.values()) - sum(self._losses.values())
        return f"{self._judged} samples judged, {ahead:+.3g} right by the challenger"

    def _waiting(self) -> str:
        return f"not sure yet: {self._counted()}, {self._sure(self._forward)}"

    @staticmethod
    def _sure(wealth: Wealth) -> str:
        return f"chance of an error at most {100.0 / max(wealth.value, 1.0):.2g} %"

    def _evidence(self, check: Optional[SourceCheck]) -> Dict[str, Any]:
        return {
            "policy": self.policy.name,
            "judged": self._judged,
            "wins": [[label, value] for label, value in self._wins.items()],
            "losses": [[label, value] for label, value in self._losses.items()],
            "new_classes": [[label, value] for label, value in self._new.items()],
            "on_trial": self._on_trial,
            "better": self._forward.value,
            "confirm": self._confirm.value,
            "worse_than_previous": self._against_previous.value,
            "worse_than_factory": self._against_factory.value,
            "source": None if check is None else check.to_json(),
        }

    def state(self) -> Dict[str, Any]:
        """Everything as plain JSON; `from_state` makes the same guard."""
        return {
            "format": _FORMAT,
            "policy": self.policy.name,
            "scale": self.scale,
            "judged": self._judged,
            "wins": [[label, value] for label, value in self._wins.items()],
            "losses": [[label, value] for label, value in self._losses.items()],
            "new": [[label, value] for label, value in self._new.items()],
            "purpose": list(self._purpose),
            "on_trial": self._on_trial,
            "forward": self._forward.logs,
            "confirm": self._confirm.logs,
            "against_previous": self._against_previous.logs,
            "against_factory": self._against_factory.logs,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Guard:
        """The guard of `state()`; raises ValueError or KeyError on anything else."""
        if state["format"] != _FORMAT:
            raise ValueError(f"guard state of format {state['format']}; this runtime reads {_FORMAT}")
        guard = cls(state["policy"], state["scale"])
        guard._judged = int(state["judged"])
        guard._wins = {label: float(value) for label, value in state["wins"]}
        guard._losses = {label: float(value) for label, value in state["losses"]}
        guard._new = {label: int(value) for label, value in state["new"]}
        guard._purpose = list(state["purpose"])
        guard._on_trial = bool(state["on_trial"])
        guard._forward, guard._confirm = Wealth(state["forward"]), Wealth(state["confirm"])
        guard._against_previous = Wealth(state["against_previous"])
        guard._against_factory = Wealth(state["against_factory"])
        return guard
