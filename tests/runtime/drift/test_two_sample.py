"""The tests and their tails agree with SciPy; weights mean what repeating samples means."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.drift import chi_square, hotelling, kolmogorov_smirnov, mmd
from edgetl_runtime.drift.distributions import binomial_sf, chi_square_sf, f_sf, kolmogorov_sf, ks_exact_sf
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def scipy_stats():
    return pytest.importorskip("scipy.stats", reason="SciPy is the oracle here")


@given(st.integers(1, 400), st.floats(0.01, 3.0))
def test_chi_square_tail_agrees_with_scipy(degrees, factor):
    stats = pytest.importorskip("scipy.stats")
    assert abs(chi_square_sf(factor * degrees, degrees) - stats.chi2.sf(factor * degrees, degrees)) < 1e-9


@given(st.integers(1, 64), st.integers(2, 5000), st.floats(0.01, 20.0))
def test_f_tail_agrees_with_scipy(above, below, value):
    stats = pytest.importorskip("scipy.stats")
    assert abs(f_sf(value, above, below) - stats.f.sf(value, above, below)) < 1e-9


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.001, 0.999))
def test_binomial_tail_agrees_with_scipy(successes, trials, chance):
    stats = pytest.importorskip("scipy.stats")
    assert abs(binomial_sf(successes, trials, chance) - stats.binom.sf(successes - 1, trials, chance)) < 1e-9


def test_kolmogorov_tail_agrees_with_scipy():
    special = pytest.importorskip("scipy.special")
    for value in np.linspace(0.0, 4.0, 801):
        assert abs(kolmogorov_sf(float(value)) - special.kolmogorov(value)) < 1e-12


@pytest.mark.parametrize("seed", range(40))
def test_ks_agrees_with_scipy(scipy_stats, seed):
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 400, 2)
    a, b = rng.normal(size=m), rng.normal(rng.choice([0, 0.3]), 1.1, size=n)
    if seed % 3 == 0:  # ties
        a, b = a.round(1), b.round(1)
    wanted = scipy_stats.ks_2samp(a, b, method="exact")
    got = kolmogorov_smirnov(a[:, None], b[:, None])
    assert abs(got.statistic - wanted.statistic) < 1e-9
    assert abs(got.p_value - wanted.pvalue) < 1e-9
    assert abs(ks_exact_sf(float(wanted.statistic), m, n) - wanted.pvalue) < 1e-9


def test_bonferroni_counts_the_columns():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(90, 1)), rng.normal(0.5, 1, size=(80, 1))
    alone = kolmogorov_smirnov(a, b)
    five = kolmogorov_smirnov(np.repeat(a, 5, axis=1), np.repeat(b, 5, axis=1))
    assert five.statistic == alone.statistic and np.isclose(five.p_value, 5 * alone.p_value)


@pytest.mark.parametrize("seed", range(40))
def test_chi_square_agrees_with_scipy(scipy_stats, seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 30))
    a, b = rng.multinomial(300, np.ones(k) / k), rng.multinomial(80, rng.dirichlet(np.full(k, 5.0)))
    seen = (a + b) > 0
    wanted = scipy_stats.chi2_contingency(np.array([a, b])[:, seen], correction=False)
    got = chi_square(a, b)
    assert abs(got.statistic - wanted.statistic) < 1e-9 * max(1.0, wanted.statistic)
    assert abs(got.p_value - wanted.pvalue) < 1e-9


def test_rare_classes_are_pooled_before_chi_square():
    reference, counts = np.array([500.0, 400.0, 3.0, 2.0, 1.0]), np.array([50.0, 40.0, 0.0, 0.0, 4.0])
    pooled = chi_square(reference, counts, least=5.0)
    by_hand = chi_square(np.array([500.0, 406.0]), np.array([50.0, 44.0]))
    assert pooled.p_value == by_hand.p_value and chi_square(reference, counts).p_value < 0.01


def test_hotelling_with_whole_weights_is_hotelling_on_repeated_samples():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 4)), rng.normal(0.3, 1, size=(50, 4))
    equal = hotelling(a, b, np.full(60, 3.0))
    assert np.isclose(equal.p_value, hotelling(a, b).p_value)
    chosen = rng.random(60) < 0.5
    assert np.isclose(hotelling(a, b, chosen.astype(float)).p_value, hotelling(a[chosen], b).p_value)


def test_hotelling_on_one_feature_is_the_t_test(scipy_stats):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 1)), rng.normal(0.4, 1, size=(50, 1))
    assert np.isclose(hotelling(a, b).p_value, scipy_stats.ttest_ind(a[:, 0], b[:, 0]).pvalue)


def test_mmd_sees_a_difference_in_nothing_but_the_joint_distribution():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(150, 2))
    b = rng.normal(size=(150, 1)) * np.ones((1, 2)) * [1, -1]
    generator = np.random.Generator(np.random.PCG64(0))
    assert mmd(a, b, generator).p_value < 0.02 < kolmogorov_smirnov(a, b).p_value


def test_block_permutations_keep_the_level_of_mmd_on_correlated_streams():
    rng = np.random.default_rng(0)
    fired = {1: 0, 30: 0}
    for _ in range(60):
        noise = rng.normal(size=(480, 2))
        walk = noise.copy()
        for place in range(1, 480):
            walk[place] = 0.9 * walk[place - 1] + noise[place]
        for block in fired:
            generator = np.random.Generator(np.random.PCG64(1))
            fired[block] += mmd(walk[:240], walk[240:], generator, block=block).p_value <= 0.05
    assert fired[1] > 20 and fired[30] <= 9
