"""An anchored head keeps the factory's answers where samples look like the factory's own, and learns the others."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads import fit_anchored, fit_head, load_head
from edgetl_runtime.statistics import Statistics

DIM, NAMES = 12, np.array(["a", "b", "c"])
RNG = np.random.Generator(np.random.PCG64(5))
MEANS = 3.0 * RNG.normal(size=(3, DIM))
# The new domain: every class elsewhere, and two of them in each other's direction.
MOVED = MEANS[[1, 0, 2]] + 5.0 * RNG.normal(size=DIM)


def draw(means, count, seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    codes = rng.integers(0, 3, count)
    return means[codes] + rng.normal(size=(count, DIM)), NAMES[codes]


def learnt(x, y):
    result = Statistics(DIM)
    if len(x):
        result.add(x, y)
    return result


SOURCE = learnt(*draw(MEANS, 300, 1))
FACTORY = fit_head("slda", learnt([], []), SOURCE)
GUARD = draw(MEANS, 60, 2)


def made(statistics, factory=FACTORY, **options):
    return fit_anchored(factory, statistics, SOURCE, *GUARD, **options)


def accuracy(head, part):
    return float((head.predict(part[0]) == part[1]).mean())


def test_the_new_domain_is_learnt_and_the_old_one_is_kept():
    old, new = draw(MEANS, 400, 3), draw(MOVED, 400, 4)
    head = made(learnt(*draw(MOVED, 60, 5)))
    assert accuracy(FACTORY, old) > 0.95 and accuracy(FACTORY, new) < 0.6
    assert accuracy(head, old) >= accuracy(FACTORY, old) - 0.01
    assert accuracy(head, new) >= accuracy(head.learnt, new) - 0.02 > 0.9
    # What it is made of would have lost the old domain.
    assert accuracy(head.learnt, old) < accuracy(FACTORY, old) - 0.1


def test_where_it_stays_at_home_it_is_the_factory_head_to_the_last_bit():
    x, _ = draw(MEANS, 200, 6)
    head = made(learnt(*draw(MOVED, 60, 7)), FACTORY.with_temperature(2.0))
    home = ~head.away(x)
    assert home.mean() > 0.9
    assert np.array_equal(head.predict_proba(x)[home], FACTORY.with_temperature(2.0).predict_proba(x)[home])
    assert head.explain(x[home][:1]).label == FACTORY.predict(x[home][:1])[0]


@pytest.mark.parametrize("options", [{}, {"n0": 2.0, "shrinkage": 0.3}, {"priors": "counts"}])
def test_what_it_learnt_is_the_plain_discriminant(options):
    x, _ = draw(MOVED, 100, 8)
    statistics = learnt(*draw(MOVED, 40, 9))
    plain = fit_head("slda", statistics, SOURCE, **options)
    ours = made(statistics, **options).learnt.decision(x)
    assert np.abs(ours - plain.decision(x)).max() < 1e-9 * np.abs(ours).max()


def test_lies_about_the_old_domain_cost_it_no_more_than_the_guard_set_allows():
    old = draw(MEANS, 400, 10)
    for seed in range(5):
        x, y = draw(MEANS, 80, 20 + seed)
        lies = learnt(x, np.roll(NAMES, 1)[np.searchsorted(NAMES, y)])
        assert accuracy(made(lies), old) >= accuracy(FACTORY, old) - 0.05
        assert accuracy(fit_head("slda", lies, SOURCE), old) < 0.5


def test_a_sample_far_away_moves_no_answer_of_the_old_domain():
    old = draw(MEANS, 200, 11)
    far = learnt(MEANS[:1] + 1e3 * RNG.normal(size=(10, DIM)), ["b"] * 10)
    assert np.array_equal(made(far).predict(old[0]), FACTORY.predict(old[0]))


def test_a_new_class_is_said_from_its_first_sample():
    centre = 8.0 * np.random.Generator(np.random.PCG64(12)).normal(size=DIM)
    head = made(learnt([centre], ["new"]))
    assert head.classes == ("a", "b", "c", "new")
    rows = centre + 0.5 * np.random.Generator(np.random.PCG64(13)).normal(size=(20, DIM))
    assert (head.predict(rows) == "new").all()
    probabilities = head.predict_proba(np.concatenate([rows, GUARD[0]]))
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert np.isneginf(head.decision(GUARD[0])[~head.away(GUARD[0]), 3]).all()


def test_order_merging_and_forgetting_end_in_the_same_head():
    x, y = draw(MOVED, 60, 14)
    probe = np.concatenate([draw(MOVED, 50, 15)[0], draw(MEANS, 50, 16)[0]])
    whole = made(learnt(x, y))
    for other in (learnt(x[::-1], y[::-1]), learnt(x[:20], y[:20]) + learnt(x[20:], y[20:])):
        assert np.allclose(made(other).predict_proba(probe), whole.predict_proba(probe), atol=1e-8)
    extra = draw(MOVED, 10, 17)
    back = (learnt(x, y) + learnt(*extra)) - learnt(*extra)
    assert np.allclose(made(back).predict_proba(probe), whole.predict_proba(probe), atol=1e-6)


@pytest.mark.parametrize("limits", [(0.0, 0.0), (1.5, float("inf"))])
def test_a_stored_head_answers_the_same_to_the_last_bit(limits):
    head = replace(made(learnt(*draw(MOVED, 40, 18))), limit=limits[0], new_limit=limits[1]).with_temperature(1.7)
    again = load_head(head.state(), json.loads(json.dumps(head.metadata(), allow_nan=False)))
    x = np.concatenate([draw(MOVED, 50, 19)[0], draw(MEANS, 50, 20)[0]])
    assert np.array_equal(again.decision(x), head.decision(x)) and again.metadata() == head.metadata()


@pytest.mark.parametrize("break_it", [
    lambda arrays, data: arrays.pop("home"),
    lambda arrays, data: arrays.update(home=arrays["home"][:, :-1]),
    lambda arrays, data: arrays.update(other=arrays["home"]),
    lambda arrays, data: data.update(limits=[-1.0, 0.0]),
    lambda arrays, data: data.update(limits=None),
    lambda arrays, data: data.pop("factory"),
])  # fmt: skip
def test_parts_that_do_not_fit_are_refused(break_it):
    head = made(learnt(*draw(MOVED, 40, 21)))
    arrays, data = head.state(), head.metadata()
    break_it(arrays, data)
    with pytest.raises(StatisticsError):
        load_head(arrays, data)


def test_without_a_source_there_is_nothing_to_anchor_to():
    with pytest.raises(ValueError, match="no classes"):
        fit_anchored(FACTORY, learnt(*draw(MOVED, 9, 22)), Statistics(DIM), *GUARD)
