"""The outlier score is the relative Mahalanobis distance, computed without its D x D matrices."""

from __future__ import annotations

import numpy as np
from edgetl_runtime.heads import fit_head
from edgetl_runtime.outliers import fit_outliers
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
