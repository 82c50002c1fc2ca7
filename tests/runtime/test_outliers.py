"""The outlier score is the relative Mahalanobis distance, computed without its D x D matrices."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.heads import fit_head
from edgetl_runtime.outliers import EnergyScore, NeighbourScore, fit_outliers, outlier_threshold
from edgetl_runtime.statistics import Statistics


def samples(count=400, dim=9, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    centres = 4.0 * rng.normal(size=(classes, dim))
    y = rng.integers(0, classes, count)
    return centres[y] + rng.normal(size=(count, dim)), y


def test_score_is_the_difference_of_two_mahalanobis_distances():
    x, y = samples()
    s = Statistics(9)
    s.add(x, y)
    within = s.within_scatter() / 400
    within = 0.9 * within + 0.1 * np.trace(within) / 9 * np.eye(9)
    means, centre = s.means() + s.shift, x.mean(axis=0)
    between = (means - centre).T @ np.diag(s.counts / 400) @ (means - centre)

    def squared(rows, matrix):
        return np.einsum("nd,de,ne->n", rows, np.linalg.inv(matrix), rows)

    wanted = np.min([squared(x - m, within) for m in means], axis=0) - squared(x - centre, within + between)
    assert np.allclose(fit_outliers(s, shrinkage=0.1).score(x), wanted, rtol=1e-9, atol=1e-9)


def test_unknown_classes_score_above_known_ones_until_they_are_learnt():
    x, y = samples(1200, 9, 5)
    source = Statistics(9)
    source.add(x[y < 4][:500], y[y < 4][:500])
    known, new = x[y < 4][500:], x[y == 4]
    before = fit_outliers(Statistics(9), source)
    assert np.median(before.score(new)) > np.quantile(before.score(known), 0.95)
    learnt = Statistics(9)
    learnt.add(new[:20], ["new"] * 20)
    after = fit_outliers(learnt, source)
    assert np.median(after.score(new[20:])) < np.quantile(before.score(known), 0.95)


def test_a_head_lends_its_factorisation_without_changing_the_score():
    x, y = samples()
    s, learnt = Statistics(9), Statistics(9)
    s.add(x[:300], y[:300])
    learnt.add(x[300:], y[300:])
    head = fit_head("slda", learnt, s)
    assert np.allclose(fit_outliers(learnt, s, head=head).score(x), fit_outliers(learnt, s).score(x), rtol=1e-9)


def test_without_classes_there_is_no_score():
    assert np.isnan(fit_outliers(Statistics(3)).score(np.ones((2, 3)))).all()


def test_energy_is_minus_the_logarithm_of_all_that_the_classes_say():
    x, y = samples()
    s = Statistics(9)
    s.add(x, y)
    head = fit_head("slda", s).with_temperature(2.5)
    wanted = -2.5 * np.log(np.exp(head.decision(x) / 2.5 - 300.0).sum(axis=1)) - 2.5 * 300.0
    assert np.allclose(EnergyScore(head).score(x), wanted, rtol=1e-9)
    assert np.isnan(EnergyScore(fit_head("slda", Statistics(9))).score(x[:2])).all()


def test_neighbour_score_is_the_distance_to_the_kth_nearest_direction():
    x, _ = samples(60)
    shift = x.mean(axis=0)
    unit = (x - shift) / np.linalg.norm(x - shift, axis=1, keepdims=True)
    for k in (1, 3):
        wanted = np.sort(1.0 - unit[40:] @ unit[:40].T, axis=1)[:, k - 1]
        assert np.allclose(NeighbourScore.of(x[:40], shift, k).score(x[40:]), wanted)
    assert np.isnan(NeighbourScore.of(np.zeros((0, 9)), shift).score(x[:2])).all()
    assert np.allclose(NeighbourScore.of(x[:2], shift, 99).score(x[:1]).max(), 1.0 - unit[0] @ unit[1])


def test_distances_see_a_new_class():
    x, y = samples(1200, 9, 5)
    known, new = x[y < 4], x[y == 4]
    s = Statistics(9)
    s.add(known[:500], y[y < 4][:500])
    for score in (fit_outliers(s), NeighbourScore.of(known[:500], known[:500].mean(axis=0))):
        threshold = outlier_threshold(score.score(known[500:]))
        assert (score.score(new) > threshold).mean() > 0.3 > (score.score(known[500:]) > threshold).mean()


def test_a_threshold_keeps_its_promise_on_samples_to_come():
    rng = np.random.default_rng(0)
    beyond = [
        np.mean(rng.normal(size=200) > outlier_threshold(rng.normal(size=count), 0.1))
        for count in (12, 30, 100) for _ in range(200)
    ]
    assert np.mean(beyond) <= 0.105
    assert outlier_threshold(np.arange(8.0), 0.1) == np.inf and outlier_threshold(np.arange(19.0), 0.05) == 18.0
    with pytest.raises(ValueError, match="NaN"):
        outlier_threshold([1.0, np.nan])
