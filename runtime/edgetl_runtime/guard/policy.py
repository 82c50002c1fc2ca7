"""What the guard may do by itself, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

__all__ = ["POLICIES", "Policy"]


@dataclass(frozen=True)
class Policy:
    """Thresholds of the guard, and in `risk` what a user takes on with them.

    A challenger goes live on trial when the wealth of its evidence reaches `1 / promote`, the trial ends well at
    `1 / confirm`, and a live head goes back when the wealth of the opposite reaches `1 / roll_back`: these are the
    highest chances of a wrong decision of each kind, however often one looks. It must have been judged on
    `least_labels` samples (near-duplicates count once), `least_others` of them not of the most frequent class; no
    class gives more evidence than twice all others and `head_start` samples. Once a learner has proved itself, its
    newer heads follow when they are not behind on as many samples as the share `growth` of all.

    A head that is right in less than the share `plausible` of what the factory head is right on the source is not
    believed, however bad the other one is: then labels are wrong, or nobody has learnt the new domain yet.

    On the source guard set a challenger may lose the share `forgetting` of all samples (for targets, of their
    variance), and, of classes, `doubt` standard errors more before that is believed; of one class the share
    `class_forgetting` and one standard error.
    With `acts` false the guard asks where it would have acted; with `judges` false everything learnt goes live.
    """

    name: str
    risk: str
    judges: bool = True
    acts: bool = True
    promote: float = 0.3
    confirm: float = 0.05
    roll_back: float = 0.05
    least_labels: int = 4
    least_others: int = 3
    head_start: int = 3
    growth: float = 0.02
    plausible: float = 0.5
    forgetting: float = 0.01
    doubt: float = 0.5
    class_forgetting: float = 0.2


POLICIES: Dict[str, Policy] = {
    "guarded": Policy(
        "guarded",
        "A head goes live on trial after few labels, with at most three chances in ten that it is not better, and"
        " goes back by itself when it turns out worse. Lies that are consistent look like a new domain: what they cost"
        " the old one is seen on the source guard set, what they cost the new one only where the factory head is good.",
    ),
    "immediate": Policy(
        "immediate",
        "Everything learnt is live at once and nothing goes back by itself: a wrong label, or a class of them, acts"
        " until somebody forgets it or rolls back.",
        judges=False,
    ),
    "manual": Policy(
        "manual",
        "Nothing goes live or back until a person says so: the device stays as it is, also where it is wrong, while"
        " the guard waits for an answer.",
        acts=False,
    ),
}
