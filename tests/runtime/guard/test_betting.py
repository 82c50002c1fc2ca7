"""A bet may be looked at after every sample, and near-duplicates are found at any scale."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.guard import POLICIES, Guard, NearDuplicates, Trial, Wealth, within_spread
from edgetl_runtime.guard.betting import STAKES, STARTS, Ledger
from edgetl_runtime.statistics import Statistics


def rng(seed):
    return np.random.Generator(np.random.PCG64(seed))


def test_the_shares_of_stakes_and_starts_are_one_unit():
    assert sum(share for _, share in STAKES) == pytest.approx(1.0) == sum(part for _, part in STARTS)
    assert all(0 < stake < 1 for stake, _ in STAKES) and Wealth().value == pytest.approx(1.0)


def test_wealth_is_the_mean_over_stakes_and_starts_of_the_products():
    differences = rng(1).uniform(-1, 1, 60)
    wealth = Wealth()
    for d in differences:
        wealth.bet(d)
    expected = sum(
        part * share * np.prod(1 + stake * differences[start:]) for start, part in STARTS for stake, share in STAKES
    )
    assert wealth.value == pytest.approx(expected, rel=1e-12)


def test_a_fair_game_makes_nobody_rich_on_average():
    """E[wealth] = 1 for every length, by all outcomes of ten coins."""
    total = 0.0
    for outcome in range(2**10):
        wealth = Wealth()
        for bit in range(10):
            wealth.bet(1.0 if outcome >> bit & 1 else -1.0)
        total += wealth.value
    assert total / 2**10 == pytest.approx(1.0, abs=1e-12)


def test_equally_good_heads_are_promoted_no_more_often_than_promised():
    promised, streams, length = POLICIES["guarded"].promote, 400, 120
    generator, wrong = rng(2), 0
    for _ in range(streams):
        guard = Guard()
        for position in range(length):
            gap = int(generator.integers(-1, 2))
            guard.add([Trial("ab"[position % 2], float(gap > 0), float(gap < 0), float(gap > 0))])
            if guard.judge().decision == "promote":
                wrong += 1
                break
    # Three standard errors above the promise would be a broken promise.
    assert wrong / streams <= promised + 3 * np.sqrt(promised * (1 - promised) / streams)
    assert wrong > 0  # a guard that never promotes would pass too


def test_a_ledger_without_a_label_is_a_ledger_that_never_met_it_but_for_the_waiting():
    both, one = Ledger(), Ledger()
    for d in rng(3).integers(-1, 2, 8):
        both.add("a", float(d))
        one.add("a", float(d))
    assert both.wealth() == one.wealth()
    both.add("b", 1.0)
    assert both.totals(["b"]) == one.totals() and both.wealth(["b"]) == one.wealth() < both.wealth()
    assert [row[0] for row in both.by_label()] == ["a", "b"]


def test_wealth_neither_overflows_nor_breaks():
    wealth = Wealth()
    for _ in range(5000):
        wealth.bet(1.0)
    assert np.isfinite(wealth.value) and wealth.value > 1e100
    for _ in range(20000):
        wealth.bet(-1.0)
    assert 0.0 <= wealth.value < 1e-6


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_near_duplicates_are_found_at_any_scale_and_other_samples_are_not(scale):
    generator = rng(4)
    spread = scale * generator.uniform(0.5, 2.0, 20)
    spread[3] = 0.0  # a feature that never varies
    seen = NearDuplicates(spread)
    rows = spread * generator.normal(size=(50, 20))
    assert not seen.add(rows).any()
    assert seen.add(rows + 0.05 * spread * generator.normal(size=rows.shape)).all()
    assert not seen.add(spread * generator.normal(size=(50, 20))).any()


def test_near_duplicates_remember_a_bounded_number():
    rows = rng(5).normal(size=(30, 8))
    seen = NearDuplicates(np.ones(8), capacity=10)
    assert not seen.add(rows).any()
    assert seen.add(rows[-10:]).all() and not seen.add(rows[:10]).any()


def test_the_spread_within_classes_is_that_of_the_samples():
    generator = rng(6)
    codes = generator.integers(0, 3, 400)
    x = 10.0 * generator.normal(size=(3, 5))[codes] + generator.normal(size=(400, 5)) * np.arange(1.0, 6.0)
    with_classes, without = Statistics(5), Statistics(5)
    with_classes.add(x, codes.tolist())
    without.add(x, targets=x[:, :1])
    inside = np.concatenate([x[codes == k] - x[codes == k].mean(axis=0) for k in range(3)])
    assert np.allclose(within_spread(with_classes), inside.std(axis=0), rtol=1e-8)
    assert np.allclose(within_spread(without), x.std(axis=0), rtol=1e-8)
