"""The guard itself: a fold over trials, and the rules that turn its counts into a verdict."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from edgetl_runtime.guard.answers import Answers
from edgetl_runtime.guard.betting import Ledger, Wealth
from edgetl_runtime.guard.forgetting import cost
from edgetl_runtime.guard.policy import POLICIES, Policy
from edgetl_runtime.guard.records import SourceCheck, Trial, Verdict
from edgetl_runtime.guard.steadiness import Steadiness
from edgetl_runtime.types import Label

__all__ = ["Guard"]

_FORMAT = 1
_LATELY = 20


class Guard:
    """Judges one champion and its challenger. Not safe between threads; no clock, no file, no chance in it.

    `add` every trial, then `judge`; tell it with `promoted` or `rolled_back` what was done. The same calls end in
    the same state, so it can be made again from stored trials, or from `state()`. `scale` is what a loss is measured
    in: 1 for classes; for squared errors of targets about four variances, and where one of two is larger, that one:
    so one sample says no more than 1, and a head that is far off is still told from one that is half as far.
    """

    def __init__(self, policy: str = "guarded", scale: float = 1.0) -> None:
        if policy not in POLICIES:
            raise ValueError(f"there is no policy {policy!r}; there are {sorted(POLICIES)}")
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be positive; got {scale}")
        self.policy: Policy = POLICIES[policy]
        self.scale = float(scale)
        # Over all heads of this learner since it was last sent back: is it better than the factory head?
        self._answers = Answers()
        self._taught: List[Label] = []
        self._learner = Ledger()
        self._steady = Steadiness()
        self._deployed = False
        self._begin()

    def _begin(self) -> None:
        """What is counted since the champion went live."""
        self._judged: Dict[Optional[Label], int] = {}
        self._new: Dict[Label, int] = {}
        self._purpose: List[Label] = []
        self._better = Ledger()
        self._lately: List[float] = []  # what the challenger lost of the last samples
        # That the challenger is worse than the champion; that the champion is better than the head before it,
        # worse than that, worse than the factory head.
        self._bets = {name: Wealth() for name in ("behind", "confirm", "previous", "factory")}
        self._on_trial = False

    @property
    def on_trial(self) -> bool:
        """Whether the champion was promoted and is not confirmed yet: `Trial.previous` is wanted."""
        return self._on_trial

    def add(self, trials: Iterable[Trial]) -> None:
        """Take in trials in the order in which they came."""
        for trial in trials:
            self._add(trial)

    def _add(self, trial: Trial) -> None:
        label = trial.label
        if not trial.known and label is not None:
            self._new[label] = self._new.get(label, 0) + 1
            return
        if trial.on_purpose and label is not None and label not in self._taught:
            self._taught.append(label)
            self._purpose.append(label)
        if not trial.weight > 0:
            return
        if trial.answer is not None:
            self._answers.add(trial.answer, label)
        others = sum(self._judged.values()) - self._judged.get(label, 0)
        if label is not None and self._judged.get(label, 0) >= 2 * others + self.policy.head_start:
            return
        self._judged[label] = self._judged.get(label, 0) + 1
        if self._steady.add(min(trial.champion, self.scale) / self.scale):
            self._learner = Ledger()
        self._better.add(label, self._gap(trial, trial.champion, trial.challenger))
        self._lately = [*self._lately, min(trial.challenger, self.scale)][-_LATELY:]
        self._learner.add(label, self._gap(trial, trial.factory, trial.challenger))
        bets = self._bets
        bets["behind"].bet(self._gap(trial, trial.challenger, trial.champion))
        bets["factory"].bet(self._gap(trial, trial.champion, trial.factory))
        if trial.previous is not None:
            bets["previous"].bet(self._gap(trial, trial.champion, trial.previous))
            bets["confirm"].bet(self._gap(trial, trial.previous, trial.champion))
            if bets["confirm"].value >= 1.0 / self.policy.confirm:
                self._on_trial = False

    def _gap(self, trial: Trial, worse: float, better: float) -> float:
        """How much less the second loses, in shares of the scale or of the larger loss, times what the trial counts."""
        return trial.weight * (worse - better) / max(self.scale, worse, better)

    def promoted(self) -> None:
        """The challenger is live now, on trial against the head before it."""
        self._begin()
        self._deployed = self._on_trial = True

    def rolled_back(self) -> None:
        """An earlier head is live again; the learner has to prove itself anew."""
        self._learner, self._steady, self._deployed = Ledger(), Steadiness(), False
        self._begin()

    def judge(self, check: Optional[SourceCheck] = None, alarms: Sequence[str] = ()) -> Verdict:
        """What the trials so far and the source guard set say. Changes nothing.

        `alarms` are reasons without labels (drift, sinking confidence): they turn a promotion into a question.
        """
        policy, evidence = self.policy, self._evidence(check)
        if not policy.judges:
            return Verdict("promote", "policy immediate: everything learnt is live at once", "challenger", evidence)
        back = self._worse()
        if back is not None:
            return Verdict("roll back" if policy.acts else "ask", back[1], back[0], evidence)
        why = self._reason()
        if why is None:
            return Verdict("keep", self._waiting(), "", evidence)
        against = cost(check, policy, None in self._judged) or self._implausible(check)
        if against is not None:
            return Verdict("keep", f"{why}; but {against}", "", evidence)
        if alarms:
            return Verdict("ask", f"{why}; but {', '.join(alarms)}", "challenger", evidence)
        return Verdict("promote" if policy.acts else "ask", why, "challenger", evidence)

    def _worse(self) -> Optional[Tuple[str, str]]:
        """What to go back to, and why."""
        for name, head in (("previous", "the head before it"), ("factory", "the factory head")):
            wealth = self._bets[name].value
            if wealth >= 1.0 / self.policy.roll_back and (self._on_trial if name == "previous" else self._deployed):
                return name, f"over {self._better.count} samples the live head is worse than {head}: {_sure(wealth)}"
        return None

    def _reason(self) -> Optional[str]:
        """Why the challenger should go live; None when nothing says so yet."""
        policy = self.policy
        if self._bets["behind"].value >= 1.0 / policy.promote:
            return None
        if self._new:
            names = ", ".join(str(label) for label in self._new)
            return f"new class {names}: the live head has never heard of it"
        if self._purpose:
            return f"taught on purpose: {', '.join(str(label) for label in self._purpose)}"
        disputed = self._disputed()
        judged, ahead, behind = self._better.totals(disputed)
        if judged < policy.least_labels or self._others() < policy.least_others:
            return None
        # As if every disputed label were wrong: what the challenger owes to them is taken off what it is ahead.
        owed = sum(more for label, _, more, _ in self._better.by_label() if label in disputed)
        wealth = self._better.wealth(disputed)
        if wealth >= 1.0 / policy.promote and ahead - behind > owed:
            return f"{self._counted()}: {_sure(wealth)}"
        proved = self._deployed and self._learner.wealth(disputed) >= 1.0 / policy.promote
        if proved and ahead - behind >= owed and judged >= policy.growth * self._learner.count:
            return f"a newer head of what has proved itself: {self._counted()}"
        return None

    def _implausible(self, check: Optional[SourceCheck]) -> Optional[str]:
        """Why the challenger, though better, is not good enough to be believed; for classes, and not for new ones."""
        if check is None or not sum(check.counts) or None in self._judged or self._new or self._purpose:
            return None
        lately = len(self._lately) - sum(self._lately)
        home = 1.0 - sum(n * loss for n, loss in zip(check.counts, check.factory)) / sum(check.counts)
        if not self._lately or lately >= self.policy.plausible * home * len(self._lately):
            return None
        return (
            f"it says only {lately:.0f} of the last {len(self._lately)} labels, and the factory head {100 * home:.0f} %"
            " of those of the source: check the labels, or go on teaching"
        )

    def _disputed(self) -> List[Optional[Label]]:
        """Labels that seem to be given to another class: nothing judged by them counts until that is cleared up."""
        return [label for _, label in self._answers.disputed()]

    def _others(self) -> int:
        """Samples judged beside those of the most frequent class; targets have no classes."""
        if None in self._judged or not self._judged:
            return self._better.count
        return sum(self._judged.values()) - max(self._judged.values())

    def _waiting(self) -> str:
        behind = self._bets["behind"].value
        if behind >= 1.0 / self.policy.promote:
            return f"the challenger is worse: {self._counted()}, {_sure(behind)}"
        text = f"not sure yet: {self._counted()}, {_sure(self._better.wealth(self._disputed()))}"
        if self._better.count and self._others() < self.policy.least_others:
            numbers = None in self._judged
            text += f"; samples {'that lie apart' if numbers else 'of other classes'} are needed"
        for answer, label in self._answers.disputed():
            text += f"; samples labelled {label} look like {answer} to the factory head: check these labels"
        return text

    def _counted(self) -> str:
        judged, ahead, behind = self._better.totals(self._disputed())
        if None in self._judged:
            change = self.scale * (behind - ahead) / max(judged, 1)
            return f"on {judged} samples its squared error differs by {change:+.3g} from the live head's"
        return f"on {judged} samples {ahead:.0f} turn right and {behind:.0f} turn wrong against the live head"

    def _evidence(self, check: Optional[SourceCheck]) -> Dict[str, Any]:
        disputed = self._disputed()
        judged, ahead, behind = self._better.totals(disputed)
        return {
            "policy": self.policy.name,
            "judged": judged,
            "ahead": ahead,
            "behind": behind,
            "classes": [list(row) for row in self._better.by_label()],
            "new_classes": [[label, count] for label, count in self._new.items()],
            "disputed": [list(pair) for pair in self._answers.disputed()],
            "on_trial": self._on_trial,
            "wealth": {
                "better": self._better.wealth(disputed),
                "learner": self._learner.wealth(disputed),
                **{name: wealth.value for name, wealth in self._bets.items()},
            },
            "source": None if check is None else check.to_json(),
        }

    def state(self) -> Dict[str, Any]:
        """Everything as plain JSON; `from_state` makes the same guard."""
        return {
            "format": _FORMAT,
            "policy": self.policy.name,
            "scale": self.scale,
            "answers": self._answers.state(),
            "taught": list(self._taught),
            "learner": self._learner.state(),
            "steady": self._steady.state(),
            "deployed": self._deployed,
            "judged": [[label, count] for label, count in self._judged.items()],
            "new": [[label, count] for label, count in self._new.items()],
            "purpose": list(self._purpose),
            "better": self._better.state(),
            "lately": list(self._lately),
            "bets": {name: [wealth.count, wealth.logs] for name, wealth in self._bets.items()},
            "on_trial": self._on_trial,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Guard:
        """The guard of `state()`; raises ValueError, TypeError or KeyError on anything else."""
        if state["format"] != _FORMAT:
            raise ValueError(f"guard state of format {state['format']}; this runtime reads {_FORMAT}")
        guard = cls(state["policy"], state["scale"])
        guard._answers, guard._steady = Answers.from_state(state["answers"]), Steadiness.from_state(state["steady"])
        guard._taught, guard._purpose = list(state["taught"]), list(state["purpose"])
        guard._learner, guard._better = Ledger.from_state(state["learner"]), Ledger.from_state(state["better"])
        guard._deployed, guard._on_trial = bool(state["deployed"]), bool(state["on_trial"])
        guard._lately = [float(loss) for loss in state.get("lately", [])]  # states of before lack it
        guard._judged = {label: int(count) for label, count in state["judged"]}
        guard._new = {label: int(count) for label, count in state["new"]}
        guard._bets = {name: Wealth(*state["bets"][name]) for name in guard._bets}
        return guard


def _sure(wealth: float) -> str:
    return f"chance of an error at most {100.0 / max(wealth, 1.0):.3g} %"
