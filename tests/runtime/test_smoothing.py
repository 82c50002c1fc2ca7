"""Decisions hold still, abstain in doubt, and change when the evidence does; repeated views are not learnt again."""

from __future__ import annotations

import math
from typing import Any, Dict, List

import numpy as np
import pytest
from edgetl_runtime.smoothing import Decision, DecisionFilter, RateLimit, Thinner
from hypothesis import given
from hypothesis import strategies as st

MODES = ["exponential", "vote"]


def run(
    smooth: DecisionFilter, labels: str, start: float = 0.0, period: float = 0.05, **options: Any
) -> List[Decision]:
    """One prediction a letter: that label with 90 %."""
    decisions = []
    for number, letter in enumerate(labels):
        rest = {name: 0.05 for name in "abc" if name != letter}
        decisions.append(smooth.push(start + number * period, {letter: 0.9, **rest}, **options))
    return decisions


@pytest.mark.parametrize("mode", MODES)
def test_a_flicker_does_not_change_the_decision(mode: str) -> None:
    decisions = run(DecisionFilter(mode=mode), "aaaaaaaaaabaaaaacaaaabbaaaaaaa")
    assert [decision.label for decision in decisions] == [None] * 5 + ["a"] * 25  # a quarter second of evidence
    assert sum(decision.changed for decision in decisions) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_lasting_change_is_followed_within_two_memories(mode: str) -> None:
    decisions = run(DecisionFilter(memory_s=0.5, mode=mode), "a" * 40 + "b" * 40)
    first = next(number for number, decision in enumerate(decisions) if decision.label == "b")
    assert 40 < first <= 40 + 20
    assert decisions[-1].label == "b" and decisions[-1].since_s == pytest.approx(decisions[first].since_s)


@pytest.mark.parametrize("mode", MODES)
def test_it_abstains_when_nothing_prevails(mode: str) -> None:
    decisions = run(DecisionFilter(mode=mode), "abcabcabcabcabcabcabcabc"[6:])
    assert decisions[-1].label is None and decisions[-1].reason == "unsure"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_like_nothing_known_is_said_to_be_unknown(mode: str) -> None:
    smooth = DecisionFilter(mode=mode, most_outlier=10.0)
    assert run(smooth, "a" * 20, outlier=3.0)[-1].label == "a"
    last = run(smooth, "a" * 40, start=1.0, outlier=99.0)[-1]
    assert (last.label, last.reason) == (None, "unknown")
    assert run(smooth, "b" * 40, start=3.0, outlier=3.0)[-1].label == "b"


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_or_a_clock_that_goes_back_begins_anew(mode: str) -> None:
    for start in (100.0, -100.0):
        smooth = DecisionFilter(mode=mode)
        run(smooth, "a" * 40)
        assert [decision.label for decision in run(smooth, "b" * 7, start=start)] == [None] * 5 + ["b"] * 2


def test_hysteresis_keeps_what_was_decided() -> None:
    smooth = DecisionFilter(mode="vote", memory_s=0.99, enter=0.7, leave=0.3)
    run(smooth, "a" * 20)
    held = run(smooth, "ab" * 10, start=1.0)
    assert {decision.label for decision in held} == {"a"}
    fresh = run(DecisionFilter(mode="vote", memory_s=0.99, enter=0.7, leave=0.3), "ab" * 10)
    assert fresh[-1].label is None


@given(
    st.sampled_from(MODES),
    st.lists(
        st.tuples(
            st.floats(-10, 1e4),
            st.dictionaries(st.sampled_from(["a", "b", 3]), st.floats(allow_nan=True), max_size=3),
            st.floats(allow_nan=True),
        ),
        max_size=30,
    ),
)
def test_nothing_that_is_pushed_breaks_it(mode: str, pushed: List[Any]) -> None:
    smooth = DecisionFilter(mode=mode, most_outlier=5.0)
    for stamp, probabilities, outlier in pushed:
        decision = smooth.push(stamp, probabilities, outlier)
        assert decision.label is None or decision.reason == ""
    assert smooth.push(1e6, {"a": 1.0}).label is None
    assert smooth.push(1e6 + 0.5, {"a": 1.0}).label == "a"


@pytest.mark.parametrize(
    "options", [{"mode": "mean"}, {"memory_s": 0}, {"memory_s": math.nan}, {"enter": 0.3}, {"leave": 0.0}, {"enter": 2}]
)
def test_senseless_settings_are_refused(options: Dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        DecisionFilter(**options)


def test_a_view_that_stays_is_learnt_once_and_a_new_one_again() -> None:
    generator = np.random.default_rng(0)
    views = generator.normal(size=(5, 64)) * 3
    thinner = Thinner(closest=0.2)
    taken = [thinner.accept(view + generator.normal(size=64) * 0.05, "a") for view in views for _ in range(20)]
    assert taken == ([True] + [False] * 19) * 5
    assert thinner.left_out == 95
    assert thinner.accept(views[0], "b")  # of another label it is news


def test_only_the_last_views_are_remembered() -> None:
    thinner = Thinner(closest=0.0, remember=3)
    for number in [0, 1, 2, 3]:
        assert thinner.accept(np.full(4, float(number)), "a")
    assert not thinner.accept(np.full(4, 1.0), "a")
    assert thinner.accept(np.full(4, 0.0), "a")


def test_a_rate_is_kept_over_time_and_a_burst_is_let_through() -> None:
    limit = RateLimit(per_s=2.0, burst=5)
    taken = [limit.accept(100.0 + number * 0.01) for number in range(1000)]
    assert taken[:5] == [True] * 5
    assert 24 <= sum(taken) <= 25
    assert limit.left_out == 1000 - sum(taken)
    assert not limit.accept(50.0)  # time that goes back earns nothing
    for wrong in ({"per_s": 0.0}, {"per_s": 1.0, "burst": 0}):
        with pytest.raises(ValueError):
            RateLimit(**wrong)  # type: ignore[arg-type]
