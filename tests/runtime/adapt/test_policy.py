"""A diagnosis asks for challengers, an unfit buffer gets none, and only labels put one on trial."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetl_runtime.adapt import ADAPTERS, POLICY, challengers, fitness, unfit
from edgetl_runtime.adapt.checks import example
from edgetl_runtime.adapt.choosing import chosen, sign_test
from edgetl_runtime.drift import KINDS, Diagnosis, diagnose


def diagnosis(kind):
    return Diagnosis(kind, "", 300, 300, 1)


def test_every_kind_of_shift_has_a_policy_of_known_adapters_with_a_reason():
    assert set(POLICY) == set(KINDS)
    assert all(set(row.adapters) <= set(ADAPTERS) and row.why for row in POLICY.values())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_diagnosis_asks_for_its_adapters_and_no_other(kind):
    made = challengers(diagnosis(kind), example()[0])
    assert tuple(one.adapter for one in made.adapted) == POLICY[kind].adapters
    assert made.refused == {} and made.why


def test_batches_add_lame_save_under_a_fault():
    situation = example()[0]
    for kind in KINDS:
        names = [one.adapter for one in challengers(diagnosis(kind), situation, batches=True).adapted]
        assert ("lame" in names) == (kind != "sensor fault")


def buffers():
    situation, _, _ = example()
    rng = np.random.default_rng(0)
    codes = situation.head.decision(situation.rows).argmax(axis=1)
    one = situation.rows[:1]
    return {
        "one class": situation.rows[codes == 0],
        "two of four classes": situation.rows[codes < 2],
        "200 frames of one scene": one + 0.05 * rng.normal(size=(200, 8)),
        "a dead sensor": np.repeat(one, 200, axis=0),
        "black frames": np.zeros((200, 8)),
        "too few": situation.rows[:7],
        "none": np.zeros((0, 8)),
    }


@pytest.mark.parametrize("name", sorted(buffers()))
def test_nothing_is_made_of_a_buffer_that_shows_a_part_of_the_world(name):
    situation = dataclasses.replace(example()[0], rows=buffers()[name])
    made = challengers(diagnosis("covariate shift"), situation)
    aligning = [one.adapter for one in made.adapted if ADAPTERS[one.adapter].moments]
    assert aligning == [] and all(made.refused[key] for key in made.refused)


def test_a_fit_buffer_is_fit_for_every_adapter():
    situation, _, _ = example()
    figures = fitness(situation)
    assert 0.8 < figures.spread < 1.2 and figures.skew < 0.05
    assert all(unfit(name, situation, figures) == () for name in ADAPTERS)


def test_a_shifted_but_complete_buffer_stays_fit():
    situation, _, _ = example()
    moved = dataclasses.replace(situation, rows=situation.rows * 1.5 + 4.0)
    assert all(unfit(name, moved, fitness(moved)) == () for name in ADAPTERS)


def test_a_head_that_is_not_linear_is_spared_t3a_and_nothing_else():
    situation, test, _ = example(head="gaussian_nb")
    made = challengers(diagnosis("covariate shift"), situation)
    assert len(made.adapted) == len(POLICY["covariate shift"].adapters)
    assert all(np.isfinite(one.head.decision(test)).all() for one in made.adapted)


def test_from_a_real_stream_to_a_challenger_that_labels_put_on_trial():
    situation, test, codes = example()
    names = np.array([f"class {code}" for code in codes])
    change = lambda x: x * 1.6 + 5.0  # noqa: E731
    there = dataclasses.replace(situation, rows=change(situation.rows))
    found = diagnose(situation.reference, situation.reference.see(there.rows))
    made = challengers(found, there)
    live = situation.head.predict(change(test)) == names
    judged = {one.adapter: one.head.predict(change(test)) == names for one in made.adapted}
    winner = chosen(live[:60], {name: right[:60] for name, right in judged.items()})
    assert found.kind == "covariate shift" and winner is not None
    assert judged[winner][60:].mean() > live[60:].mean() + 0.1


def test_the_live_head_stays_unless_a_challenger_is_more_often_right():
    live = np.array([True] * 30 + [False] * 30)
    worse, same, better, best = (live.copy() for _ in range(4))
    worse[:2] = False
    same[0], same[59] = False, True
    better[30:33], best[30:35] = True, True
    assert chosen(live, {"worse": worse, "same": same}) is None
    assert chosen(live, {"worse": worse, "better": better, "best": best}) == "best"
    assert chosen(live, {}) is None
    with pytest.raises(ValueError, match="judged"):
        chosen(live, {"short": live[:3]})


def test_few_labels_must_be_surer():
    for count, needed in ((10, 2), (60, 1)):
        live = np.zeros(count, dtype=bool)
        for gained in range(5):
            right = live.copy()
            right[:gained] = True
            assert (chosen(live, {"one": right}) == "one") == (gained >= needed), (count, gained)


def test_of_many_that_are_no_better_few_pass():
    rng = np.random.default_rng(0)
    passed = []
    for _ in range(600):
        live = rng.random(80) < 0.5
        # Six that differ from the live head in some samples, and are right in as many.
        equal = {str(k): np.where(rng.random(80) < 0.3, rng.random(80) < 0.5, live) for k in range(6)}
        others = dict.fromkeys("abcde", live)
        passed.append(sum(chosen(live, {name: right, **others}) == name for name, right in equal.items()))
    assert 0.6 < np.mean(passed) < 1.1


def test_sign_test_is_between_the_two_plain_ones():
    stats = pytest.importorskip("scipy.stats")
    for gained, lost in ((5, 1), (7, 7), (1, 9), (40, 20)):
        at_least = stats.binomtest(gained, gained + lost, alternative="greater").pvalue
        more = stats.binom.sf(gained, gained + lost, 0.5)
        assert abs(sign_test(gained, lost) - (at_least + more) / 2) < 1e-12
    assert sign_test(0, 0) == 0.5
