"""What is worth asking a person: samples on which heads disagree, else unsure ones, and clusters of unknown ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt import Likeness, QuestionBudget, choose_questions, clusters, estimated_mean
from edgetl_runtime.drift import Reference
from edgetl_runtime.errors import UnknownSampleError
from edgetl_runtime.learner import Fitted
from edgetl_runtime.observing.seen import Window
from edgetl_runtime.outliers import outlier_threshold

__all__ = ["Asking", "Question", "chosen_questions", "disputed_rows", "unknown_rows"]

_MOST_UNKNOWN = 300
_MOST_ANSWERS = 200
_MOST_ALIKE = 64


@dataclass(frozen=True)
class Question:
    """What a person is asked. `kind` "sample": what is it; "cluster": what are all these.

    `number` names it in an answer. `observed` are the numbers that `observe` gave its samples, the most typical
    first, `stamps_s` when they came, `guesses` what the live head says of the first. `chance` is the probability
    with which a sample was drawn, so that answers can be counted without bias.
    """

    number: int
    kind: str
    words: str
    observed: Tuple[int, ...]
    stamps_s: Tuple[float, ...]
    guesses: Tuple[Tuple[str, float], ...] = ()
    chance: float = 1.0


@dataclass
class Asking:
    """The open questions, the budget, and what was answered; plain data, not safe between threads."""

    budget: QuestionBudget
    last: int = 0
    open: Dict[int, Question] = field(default_factory=dict)
    answered: List[Tuple[float, float]] = field(default_factory=list)

    def drop_gone(self, window: Window) -> None:
        """Forget questions about samples that are not kept any more."""
        held = set(window.numbers.tolist())
        self.open = {number: one for number, one in self.open.items() if held.issuperset(one.observed)}

    def take(self, number: int) -> Question:
        """The open question of that number; raises UnknownSampleError."""
        if number not in self.open:
            numbers = ", ".join(map(str, sorted(self.open))) or "none"
            raise UnknownSampleError(f"there is no open question {number}; open are: {numbers}")
        return self.open[number]

    def add(self, questions: Sequence[Question], wall_s: float) -> None:
        """Count questions as asked."""
        self.budget.spend(len(questions), wall_s)
        self.open.update({one.number: one for one in questions})
        self.last = max([self.last, *(one.number for one in questions)])

    def close(self, question: Question, right: bool) -> None:
        """Note an answer: whether the live head had been right."""
        self.open.pop(question.number, None)
        if question.kind == "sample":
            self.answered = [*self.answered, (question.chance, float(right))][-_MOST_ANSWERS:]

    def accuracy(self) -> Optional[float]:
        """Share of what came on which the live head was right, estimated from the answers; None without any."""
        if not self.answered:
            return None
        chances, right = zip(*self.answered)
        return estimated_mean(right, chances)

    def state(self) -> Dict[str, Any]:
        """Plain JSON."""
        return {
            "budget": self.budget.state(), "last": self.last, "answered": [list(pair) for pair in self.answered],
            "open": [asdict(one) for one in self.open.values()],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`; raises KeyError, TypeError, ValueError."""
        found = [
            Question(
                int(one["number"]), str(one["kind"]), str(one["words"]), tuple(int(n) for n in one["observed"]),
                tuple(float(s) for s in one["stamps_s"]), tuple((str(k), float(p)) for k, p in one["guesses"]),
                float(one["chance"]),
            )
            for one in state["open"]
        ]  # fmt: skip
        self.budget.restore(list(state["budget"]["asked"]))
        self.last, self.open = int(state["last"]), {one.number: one for one in found}
        self.answered = [(float(chance), float(right)) for chance, right in state["answered"]]


def unknown_rows(reference: Reference, scores: NDArray[np.float64], share: float = 0.05) -> NDArray[np.int64]:
    """Positions of samples, of those with outlier scores (N), that are like nothing known."""
    return np.flatnonzero(scores > outlier_threshold(reference.sight.outliers, share))


def disputed_rows(live: Fitted, others: Sequence[Fitted], features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions of features (N, D) on which some other head decides otherwise: only these labels tell heads apart."""
    said = live.head.predict(features)
    different = np.zeros(len(features), dtype=np.bool_)
    for other in others:
        different |= other.head.predict(features) != said
    return np.flatnonzero(different)


def chosen_questions(
    window: Window, live: Fitted, others: Sequence[Fitted], unknown: NDArray[np.int64], likeness: Optional[Likeness],
    asking: Asking, most: int, generator: np.random.Generator,
) -> List[Question]:  # fmt: skip
    """At most `most` new questions: the largest unknown cluster, then samples that heads dispute, or unsure ones."""
    taken = {number for one in asking.open.values() for number in one.observed}
    found: List[Question] = []
    if likeness is not None and most > 0:
        rows = np.array([row for row in unknown[-_MOST_UNKNOWN:] if int(window.numbers[row]) not in taken], np.int64)
        for cluster in clusters(window.features[rows], likeness)[:1]:
            members = rows[list(cluster.members[:_MOST_ALIKE])]
            found.append(_question(asking.last + 1, "cluster", cluster.question(), window, members, live, 1.0))
            taken.update(found[-1].observed)
    free = np.array([row for row, number in enumerate(window.numbers.tolist()) if number not in taken], np.int64)
    wanted = min(most - len(found), len(free))
    if wanted < 1:
        return found
    rows = free
    disputed = free[disputed_rows(live, others, window.features[free])] if others else free[:0]
    if len(disputed) >= wanted:
        rows = disputed
        picks, chances = generator.permutation(len(rows))[:wanted], np.full(len(rows), wanted / len(rows))
        words = "the heads disagree: what is it?"
    else:
        shares = live.head.predict_proba(window.features[rows])
        drawn = choose_questions(shares, window.features[rows], wanted, generator)
        picks, chances, words = drawn.rows, drawn.chances, "the head is not sure: what is it?"
    for pick in picks.tolist():
        number = asking.last + 1 + len(found)
        found.append(_question(number, "sample", words, window, rows[[pick]], live, float(chances[pick])))
    return found


def _question(
    number: int, kind: str, words: str, window: Window, rows: NDArray[np.int64], live: Fitted, chance: float
) -> Question:
    shares = live.head.predict_proba(window.features[rows[:1]])[0]
    best = np.argsort(-shares, kind="stable")[:3]
    guesses = tuple((str(live.head.classes[place]), float(shares[place])) for place in best)
    numbers, stamps = window.numbers[rows].tolist(), window.stamps[rows].tolist()
    return Question(number, kind, words, tuple(numbers), tuple(stamps), guesses, chance)
