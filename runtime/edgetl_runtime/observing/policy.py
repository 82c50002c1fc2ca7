"""How much is observed, how often it is looked at, and what an adapter may do without labels."""

from __future__ import annotations

from dataclasses import dataclass

from edgetl_runtime.errors import StateError

__all__ = ["ObservePolicy"]


@dataclass(frozen=True)
class ObservePolicy:
    """Bounds of `Session.observe`.

    Of a stream one sample in `gap_s` seconds is kept, as neighbouring frames say the same; at most `most_samples` of
    the newest, in `most_bytes`. After every `look_every` of them the drift tests run, in a thread of their own;
    adapters are made again at most every `adapt_every_s`. What must survive a restart is written at most every
    `save_every_s`, and at the end. `questions_per_day` is how many a person is asked.

    `without_labels` "ask": an adapted head goes live only when labelled samples prove it better, or a person says so;
    the tests alone cannot tell a map that helps from one that harms. "adopt": it goes live on the diagnosis alone.
    On the data sets of `make adapt-bench` that costs up to 30 points where the diagnosis, or its adapter, is wrong.
    """

    gap_s: float = 1.0
    most_bytes: int = 2 << 20
    most_samples: int = 1000
    look_every: int = 32
    adapt_every_s: float = 120.0
    save_every_s: float = 1800.0
    questions_per_day: int = 5
    without_labels: str = "ask"

    def __post_init__(self) -> None:
        if self.without_labels not in ("ask", "adopt"):
            raise StateError(f"without_labels must be 'ask' or 'adopt'; got {self.without_labels!r}")
        least = min(self.most_bytes, self.most_samples, self.look_every)
        if least < 1 or min(self.gap_s, self.adapt_every_s, self.save_every_s, self.questions_per_day) < 0:
            raise StateError(f"bounds of observing are positive, times and questions not negative; got {self}")
