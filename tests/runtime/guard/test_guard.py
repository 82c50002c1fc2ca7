"""What the guard decides, from trials as a session hands them to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgetl_runtime.guard import POLICIES, Guard, Trial, source_check
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("a", "b", "c")


def trial(number, champion, challenger, factory=None, label=None, **more):
    return Trial(label or NAMES[number % 3], champion, challenger, champion if factory is None else factory, **more)


def wins(count, **more):
    return [trial(i, 1.0, 0.0, **more) for i in range(count)]


def ties(count, **more):
    return [trial(i, 0.0, 0.0, **more) for i in range(count)]


def losses(count, **more):
    return [trial(i, 0.0, 1.0, **more) for i in range(count)]


def told(*trials, policy="guarded"):
    guard = Guard(policy)
    for part in trials:
        guard.add(part)
    return guard


def check(challenger_wrong=0, per_class=20, classes=("a", "b", "c"), only=None):
    """A guard set on which the factory head is right everywhere and the challenger wrong so often (in one class)."""
    labels = [name for name in classes for _ in range(per_class)]
    right = np.zeros(len(labels))
    wrong = right.copy()
    rows = [i for i, name in enumerate(labels) if only in (None, name)]
    wrong[rows[:challenger_wrong]] = 1.0
    return source_check(labels, right, wrong, right)


def test_a_clear_gain_goes_live_after_a_handful_of_labels():
    guard = Guard()
    for number in range(6):
        guard.add([trial(number, 1.0, 0.0)])
    verdict = guard.judge(check())
    assert verdict.decision == "promote" and "turn right" in verdict.reason and "chance of an error" in verdict.reason


def test_no_difference_and_a_loss_never_go_live():
    assert told(ties(500)).judge(check()).decision == "keep"
    worse = told(losses(50))
    assert worse.judge(check()).decision == "keep" and "worse" in worse.judge(check()).reason


def test_one_class_alone_is_no_reason():
    one = told([trial(i, 1.0, 0.0, label="a") for i in range(200)])
    assert one.judge(check()).decision == "keep" and "other classes" in one.judge(check()).reason
    one.add(wins(9))
    assert one.judge(check()).decision == "promote"


def test_a_near_duplicate_is_no_evidence():
    assert told(wins(100, weight=0.0)).judge(check()).evidence["judged"] == 0


def test_what_forgets_the_source_does_not_go_live_and_the_class_is_named():
    guard = told(wins(30))
    assert guard.judge(check(0)).decision == "promote"
    refused = guard.judge(check(12, only="b"))
    assert refused.decision == "keep" and "class b suffers" in refused.reason
    # One sample is nothing that chance does not explain.
    assert guard.judge(check(1)).decision == "promote"
    # Of many classes one may be lost while all together hardly are.
    many = tuple(f"k{i}" for i in range(60))
    spared = guard.judge(check(12, classes=many, only="k7"))
    assert spared.decision == "keep" and "k7" in spared.reason


def test_a_new_class_is_live_at_once_unless_it_costs_the_old_ones():
    new = [trial(0, 1.0, 1.0, label="new", known=False)]
    assert told(new).judge(check()).decision == "promote"
    assert told(new).judge(check(20)).decision == "keep"
    assert told(losses(30), new).judge(check()).decision == "keep"


def test_the_first_label_that_a_person_gives_on_purpose_is_live_at_once_and_only_the_first():
    guard = told([trial(0, 1.0, 1.0, on_purpose=True)])
    assert guard.judge(check()).decision == "promote"
    guard.promoted()
    guard.add([trial(0, 1.0, 1.0, on_purpose=True)])
    assert guard.judge(check()).decision == "keep"


def test_a_head_on_trial_that_is_worse_than_the_one_before_goes_back_to_it():
    guard = told(wins(10))
    guard.promoted()
    assert guard.on_trial
    guard.add([trial(i, 1.0, 1.0, factory=1.0, previous=0.0) for i in range(12)])
    verdict = guard.judge(check())
    assert (verdict.decision, verdict.target) == ("roll back", "previous")
    guard.rolled_back()
    assert guard.judge(check()).decision == "keep" and not guard.on_trial


def test_a_confirmed_head_still_goes_back_to_the_factory_head_when_it_turns_out_worse():
    guard = told(wins(10))
    guard.promoted()
    guard.add([trial(i, 0.0, 0.0, factory=1.0, previous=1.0) for i in range(20)])
    assert not guard.on_trial
    guard.add([trial(i, 1.0, 1.0, factory=0.0) for i in range(80)])
    verdict = guard.judge(check())
    assert (verdict.decision, verdict.target) == ("roll back", "factory")


def test_newer_heads_of_what_has_proved_itself_follow_and_no_longer_when_the_live_head_suddenly_fails():
    guard = told(wins(10))
    guard.promoted()
    guard.add(ties(30, factory=1.0))
    assert guard.judge(check()).decision == "promote" and "proved" in guard.judge(check()).reason
    # Now the labels say something else: neither head is right any more, nor is the factory's.
    guard.add([trial(i, 1.0, 1.0) for i in range(25)])
    assert guard.judge(check()).decision == "keep"


def test_labels_of_a_class_that_never_gets_its_own_name_are_disputed_and_do_not_count():
    honest = [trial(i, 0.0, 0.0, label="bc"[i % 2], answer="bc"[i % 2]) for i in range(40)]
    lies = [trial(i, 1.0, 0.0, label="b", answer="a") for i in range(15)]
    guard = told(honest, lies)
    verdict = guard.judge(check())
    assert verdict.decision == "keep" and "samples labelled b look like a" in verdict.reason
    assert verdict.evidence["disputed"] == [["a", "b"]]
    # What is gained elsewhere has to be more than what is owed to the disputed labels.
    few, many = ([trial(i, 1.0, 0.0, label="c", answer="c") for i in range(n)] for n in (10, 20))
    assert told(honest, lies, few).judge(check()).decision == "keep"
    assert told(honest, lies, many).judge(check()).decision == "promote"
    # The same where the factory head is wrong about everything: then it is no witness.
    lost = [trial(i, 1.0, 0.0, label="bc"[i % 2], answer="d") for i in range(40)]
    assert told(lost, lies).judge(check()).evidence["disputed"] == []


def test_targets_are_judged_on_bounded_squared_errors():
    guard = Guard("guarded", scale=4.0)
    guard.add([Trial(None, 2.0, 0.2, 2.0) for _ in range(40)])
    verdict = guard.judge(source_check(["numbers"] * 50, np.ones(50), np.ones(50), np.ones(50)))
    assert verdict.decision == "promote" and "squared error" in verdict.reason
    # One error of a million says no more than one sample may, and half an error is half of it.
    cut = Guard("guarded", scale=4.0)
    cut.add([Trial(None, 4.0, 4.0, 4.0), Trial(None, 1e6, 4.0, 1e6), Trial(None, 2e6, 1e6, 2e6)])
    assert 1.4 < cut.judge().evidence["ahead"] <= 1.5
    rng = np.random.Generator(np.random.PCG64(0))
    first = rng.random(100)
    worse = guard.judge(source_check(["numbers"] * 100, first, first + 0.5, first))
    assert worse.decision == "keep" and "forgets" in worse.reason


def test_every_policy_says_its_risk_and_does_what_it_says():
    assert sorted(POLICIES) == ["guarded", "immediate", "manual"]
    assert all(policy.name == name and len(policy.risk) > 60 for name, policy in POLICIES.items())
    assert told(losses(50), policy="immediate").judge(check(60)).decision == "promote"
    asked = told(wins(20), policy="manual").judge(check())
    assert (asked.decision, asked.target) == ("ask", "challenger")
    back = Guard("manual")
    back.promoted()
    back.add([trial(i, 1.0, 1.0, factory=0.0) for i in range(60)])
    assert (back.judge().decision, back.judge().target) == ("ask", "factory")
    with pytest.raises(ValueError, match="guarded"):
        Guard("bold")


def test_an_alarm_without_labels_asks_and_never_promotes():
    assert Guard().judge(check(), alarms=["drift"]).decision == "keep"
    asked = told(wins(20)).judge(check(), alarms=["the confidence sinks"])
    assert asked.decision == "ask" and "the confidence sinks" in asked.reason


@pytest.mark.parametrize(
    "bad", [{"champion": float("nan")}, {"factory": -1.0}, {"weight": 1.5}, {"previous": float("inf")}]
)
def test_a_trial_that_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        Trial(**{"label": "a", "champion": 0.0, "challenger": 0.0, "factory": 0.0, **bad})


def test_verdicts_trials_and_checks_are_plain_json():
    verdict = told(wins(8, answer="a", previous=1.0)).judge(check(2))
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False)) == verdict.to_json()
    one = wins(1, source="camera", held=True)[0]
    assert Trial.from_json(json.loads(json.dumps(one.to_json()))) == one


ZERO_ONE = st.sampled_from([0.0, 1.0])
TRIALS = st.lists(
    st.builds(
        Trial, label=st.sampled_from(["a", "b", 3]), champion=ZERO_ONE, challenger=ZERO_ONE, factory=ZERO_ONE,
        previous=st.one_of(st.none(), ZERO_ONE), answer=st.sampled_from(["a", "b", 3, None]), on_purpose=st.booleans(),
        known=st.booleans(), weight=st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=60,
)  # fmt: skip


@given(TRIALS, st.integers(0, 60))
def test_a_guard_from_its_state_goes_on_as_the_one_that_never_stopped(trials, cut):
    whole = Guard()
    whole.add(trials[:cut])
    if whole.judge(check()).decision == "promote":
        whole.promoted()
    again = Guard.from_state(json.loads(json.dumps(whole.state(), allow_nan=False)))
    for guard in (whole, again):
        guard.add(trials[cut:])
    assert again.state() == whole.state() and again.judge(check()) == whole.judge(check())


@given(TRIALS)
def test_judging_changes_nothing(trials):
    guard = told(trials)
    before = guard.state()
    assert guard.judge(check(3)) == guard.judge(check(3)) and guard.state() == before


def test_a_state_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format"):
        Guard.from_state({**Guard().state(), "format": 99})
    broken = told(wins(3)).state()
    broken["better"][0] = broken["better"][0][:5]
    with pytest.raises(ValueError, match="columns"):
        Guard.from_state(broken)


def test_a_head_that_is_hardly_ever_right_is_not_believed_however_bad_the_other_one_is():
    """As where all labels are wrong: the candidate says a few of them more, and that is no reason to trust either."""
    stream = [trial(i, 1.0, 0.0 if i % 5 == 0 else 1.0) for i in range(60)]
    guard = told(stream)
    verdict = guard.judge(check())
    assert verdict.decision == "keep" and "check the labels" in verdict.reason
    assert Guard.from_state(json.loads(json.dumps(guard.state()))).judge(check()) == verdict
    # Where the factory head was no better at home, as good as it is good enough.
    labels = [name for name in NAMES for _ in range(20)]
    poor = np.array([0.0 if i % 4 == 0 else 1.0 for i in range(60)])
    assert guard.judge(source_check(labels, poor, poor, poor)).decision == "promote"
    # It has learnt since: the last twenty samples count.
    guard.add([trial(i, 1.0, 0.0) for i in range(20)])
    assert guard.judge(check()).decision == "promote"


def test_of_numbers_no_loss_on_the_source_is_put_down_to_chance():
    """A head that turns everything about changes so much that half a standard error would excuse what it costs."""
    guard = Guard("guarded", scale=4.0)
    guard.add([Trial(None, 2.0, 0.2, 2.0) for _ in range(20)])
    first = np.full(20, 1.0)
    turned = first + np.where(np.arange(20) % 2, 1.0, -0.9)
    assert guard.judge(source_check(["numbers"] * 20, first, turned, first)).decision == "keep"
    assert guard.judge(source_check(["numbers"] * 20, first, first - 0.1, first)).decision == "promote"
