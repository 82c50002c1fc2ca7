"""Heads from statistics equal independent fits on the samples themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgetl_runtime.errors import FeatureSpaceError, StatisticsError
from edgetl_runtime.heads import (
    MultiHead,
    angle_targets,
    angles_of,
    calibrated,
    fit_head,
    fit_regressor,
    load_regressor,
    random_layer,
)
from edgetl_runtime.heads.descent import minimise
from edgetl_runtime.heads.leave_one_out import loo_ncm, loo_ridge, loo_ridge_targets, loo_slda
from edgetl_runtime.heads.mlp import loss_and_gradient
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

WHY = "scikit-learn is the reference and is not installed"


def samples(count=240, dim=8, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, count)
    x = rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim)) + 2.0 * rng.normal(size=(classes, dim))[y] + 5.0
    return x, y


def learnt(x, y, **options):
    s = Statistics(x.shape[1], **options)
    s.add(x, y)
    return s


def close(a, b, tolerance):
    return np.abs(np.asarray(a) - np.asarray(b)).max() <= tolerance * np.abs(np.asarray(b)).max()


def centred(decision):
    return decision - decision.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.9])
def test_slda_is_linear_discriminant_analysis(shrinkage):
    reference = pytest.importorskip("sklearn.discriminant_analysis", reason=WHY).LinearDiscriminantAnalysis
    x, y = samples()
    ours = fit_head("slda", learnt(x, y), shrinkage=shrinkage, priors="counts")
    theirs = reference(solver="lsqr", shrinkage=shrinkage or None).fit(x, y)
    assert close(centred(ours.decision(x)), centred(theirs.decision_function(x)), 1e-8)
    assert close(ours.predict_proba(x), theirs.predict_proba(x), 1e-8)


def test_ncm_is_nearest_centroid():
    reference = pytest.importorskip("sklearn.neighbors", reason=WHY).NearestCentroid
    x, y = samples()
    ours, theirs = fit_head("ncm", learnt(x, y)), reference().fit(x, y)
    assert close(ours.weights + ours.shift, theirs.centroids_, 1e-8)
    assert np.array_equal(ours.predict(x), theirs.predict(x))


def test_imprinting_is_the_mean_of_unit_features():
    x, y = samples()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([unit[y == k].mean(axis=0) for k in range(4)])
    cosines = unit @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    assert close(fit_head("ncm", learnt(x, y), metric="cosine").decision(x), cosines, 1e-10)


def test_gaussian_nb_is_gaussian_nb():
    reference = pytest.importorskip("sklearn.naive_bayes", reason=WHY).GaussianNB
    x, y = samples()
    ours, theirs = fit_head("gaussian_nb", learnt(x, y), priors="counts"), reference().fit(x, y)
    assert close(ours.means + ours.shift, theirs.theta_, 1e-8)
    assert close(ours.variances, theirs.var_, 1e-8)
    logs = ours.decision(x)
    logs = logs - np.logaddexp.reduce(logs, axis=1)[:, None]
    assert close(logs, theirs.predict_log_proba(x), 1e-8)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_ridge_is_ridge(penalty):
    reference = pytest.importorskip("sklearn.linear_model", reason=WHY).Ridge
    x, y = samples()
    targets = np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 2])], axis=1)
    s = Statistics(8)
    s.add(x, targets=targets)
    ours, theirs = fit_regressor("ridge", s, penalty=penalty), reference(penalty).fit(x, targets)
    assert close(ours.weights, theirs.coef_, 1e-8) and close(ours.predict(x), theirs.predict(x), 1e-8)
    one_hot = np.eye(4)[y]
    assert close(
        fit_head("ridge", learnt(x, y), penalty=penalty).decision(x),
        reference(penalty).fit(x, one_hot).predict(x),
        1e-8,
    )


def test_ridge_takes_the_penalty_of_exact_generalised_cross_validation():
    x, _ = samples(80, 20)
    targets = x[:, :1] + np.random.default_rng(0).normal(size=(80, 1)) * 3
    grid = np.logspace(-2, 4, 13)
    s = Statistics(20)
    s.add(x, targets=targets)
    rows = x - x.mean(axis=0)
    scores = []
    for penalty in grid:
        hat = rows @ np.linalg.solve(rows.T @ rows + penalty * np.eye(20), rows.T) + 1 / 80
        scores.append(((targets - hat @ targets) ** 2).sum() / (1 - np.trace(hat) / 80) ** 2)
    best = float(grid[int(np.argmin(scores))])
    chosen = fit_regressor("ridge", s, penalties=grid)
    assert close(chosen.weights, fit_regressor("ridge", s, penalty=best).weights, 1e-8)


def test_ridge_does_not_interpolate_because_the_last_directions_happen_to_fit():
    """As many samples as features, and along the directions of least spread, by luck, no noise."""
    rng = np.random.default_rng(0)
    count, dim = 121, 120
    left, _ = np.linalg.qr(np.concatenate([np.ones((count, 1)), rng.normal(size=(count, dim))], axis=1))
    right, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    spread = np.where(np.arange(dim) < dim - 4, np.logspace(1, -2, dim), 1e-5)
    slope = np.where(np.arange(dim) < 5, 3.0, 0.0) / spread
    noise = rng.normal(size=(dim, 1)) * (np.arange(dim) < dim - 4)[:, None]
    x, y = left[:, 1:] * spread @ right.T, left[:, 1:] @ ((slope * spread)[:, None] + noise)
    new = rng.normal(size=(1000, dim)) * spread @ right.T
    truth = (new @ right @ slope)[:, None]
    s = Statistics(dim)
    s.add(x, targets=y)
    errors = {
        penalty: float(np.mean((fit_regressor("ridge", s, penalty=penalty).predict(new) - truth) ** 2))
        for penalty in ("gcv", *np.logspace(-8, 3, 23).tolist())
    }
    assert errors["gcv"] < 1.5 * min(errors.values())
    assert errors["gcv"] < 0.1 * errors[1e-8]


def test_ridge_left_out_is_ridge_cv():
    linear = pytest.importorskip("sklearn.linear_model", reason=WHY)
    x, _ = samples(60, 12)
    targets = x[:, :2] ** 2 + np.random.default_rng(0).normal(size=(60, 2))
    s = Statistics(12)
    s.add(x, targets=targets)
    grid = [0.1, 1.0, 10.0, 100.0]
    theirs = linear.RidgeCV(grid, store_cv_results=True).fit(x, targets)
    for column, penalty in enumerate(grid):
        squared = (loo_ridge_targets(s, x, targets, penalty=penalty) - targets) ** 2
        assert close(squared, theirs.cv_results_[:, :, column], 1e-8)


@pytest.mark.parametrize("with_prior", [False, True])
def test_leave_one_out_is_refitting_without_each_sample(with_prior):
    x, y = samples(40, 6, 3)
    prior = learnt(*samples(300, 6, 3, seed=5)) if with_prior else None
    whole = learnt(x, y)
    cases = [(loo_ncm, "ncm", {}), (loo_ridge, "ridge", {"penalty": 3.0, "weight": 4.0})]
    if not with_prior:
        cases.append((loo_slda, "slda", {"shrinkage": 0.1}))
    for left_out, name, options in cases:
        refitted = []
        for i in range(40):
            rest = np.arange(40) != i
            refitted.append(fit_head(name, learnt(x[rest], y[rest]), prior, **options).decision(x[i : i + 1])[0])
        wanted = np.array(refitted)
        got = left_out(whole, x, y, prior, **options)
        # Decision values of two heads may differ by what all classes share, the shift they are about.
        assert close(centred(got), centred(wanted), 1e-9)


def test_softmax_reaches_the_objective_of_logistic_regression():
    linear = pytest.importorskip("sklearn.linear_model", reason=WHY)
    x, y = samples(200, 6, 3)
    x = x.astype(np.float16).astype(np.float64)
    store = Reservoir(6, 10**6, same=1.1)
    store.add(x, y, np.random.default_rng(0))
    ours = fit_head("softmax", Statistics(6), reservoir=store, standardise=False, balanced=False, strength=0.5)
    theirs = linear.LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(x, y)

    def objective(decision, weights):
        logs = decision - np.logaddexp.reduce(decision, axis=1)[:, None]
        return -logs[np.arange(200), y].sum() + (weights**2).sum()

    reached = objective(ours.decision(x), ours.weights)
    wanted = objective(theirs.decision_function(x), theirs.coef_)
    assert reached <= wanted * (1 + 1e-6)


def test_gradients_of_the_perceptron_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    rows, codes, weights = rng.normal(size=(15, 4)), rng.integers(0, 3, 15), rng.uniform(0.5, 2, 15)
    point = rng.normal(size=5 * 4 + 5 + 3 * 5 + 3)

    def at(flat):
        return loss_and_gradient(flat, rows, codes, weights, 5, 3, 0.1)[0]

    gradient = loss_and_gradient(point, rows, codes, weights, 5, 3, 0.1)[1]
    for i in range(len(point)):
        step = np.zeros(len(point))
        step[i] = 1e-5
        assert np.isclose((at(point + step) - at(point - step)) / 2e-5, gradient[i], rtol=1e-6, atol=1e-9)


def test_descent_finds_the_minimum_of_a_curved_valley():
    def valley(p):
        value = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        slope = [-2 * (1 - p[0]) - 400 * p[0] * (p[1] - p[0] ** 2), 200 * (p[1] - p[0] ** 2)]
        return value, np.array(slope)

    point, value = minimise(valley, np.array([-1.2, 1.0]), tolerance=1e-10)
    assert np.allclose(point, 1.0, atol=1e-6) and value < 1e-12


def test_predictive_variance_is_that_of_the_formula_and_grows_away_from_the_samples():
    x, _ = samples(100, 5)
    y = x @ np.arange(5.0) + np.random.default_rng(0).normal(size=100)
    s = Statistics(5)
    s.add(x, targets=y)
    head = fit_regressor("ridge", s, penalty=1.0, variance=True)
    rows = x - x.mean(axis=0)
    inverse = np.linalg.inv(rows.T @ rows + np.eye(5))
    freedom = 1 + np.trace(inverse @ rows.T @ rows)
    noise = ((head.predict(x)[:, 0] - y) ** 2).sum() / (100 - freedom)
    wanted = noise * (1 + 1 / 100 + np.einsum("nd,de,ne->n", rows, inverse, rows))
    assert close(head.predict_variance(x)[:, 0], wanted, 1e-8)
    assert head.predict_variance(x.mean(axis=0)[None] + 100)[0, 0] > 2 * wanted.max()
    loaded = load_regressor(head.state(), json.loads(json.dumps(head.metadata())))
    assert np.array_equal(loaded.predict_variance(x), head.predict_variance(x))


def test_angles_have_no_jump():
    angles = np.linspace(-np.pi, np.pi, 50)
    x = np.stack([np.cos(angles + 1), np.sin(angles + 1)], axis=1)
    s = Statistics(2)
    s.add(x, targets=angle_targets(angles))
    found = angles_of(fit_regressor("ridge", s, penalty=1e-9).predict(x))
    assert np.abs(np.exp(1j * found) - np.exp(1j * angles)).max() < 1e-6


def test_regression_behind_the_random_layer_learns_what_is_not_linear():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 4))
    y = np.abs(x[:, 0]) + x[:, 1] * x[:, 2]
    raw = learnt(x[:600], np.zeros(600, int))
    layer = random_layer(raw, 300)
    s, plain = Statistics(300), Statistics(4)
    s.add(layer.apply(x[:600]), targets=y[:600])
    plain.add(x[:600], targets=y[:600])
    head = fit_regressor("ridge_rp", s, layer=layer)
    linear = fit_regressor("ridge", plain)
    error = [np.mean((h.predict(x[600:])[:, 0] - y[600:]) ** 2) / y[600:].var() for h in (head, linear)]
    assert error[0] < 0.2 < 0.8 < error[1]
    loaded = load_regressor(head.state(), json.loads(json.dumps(head.metadata())))
    assert np.array_equal(loaded.predict(x), head.predict(x))


def test_the_random_layer_is_the_same_wherever_its_seed_goes():
    layer = random_layer(Statistics(3), 4, seed=11)
    # Written down once: the bits of PCG64 are promised by NumPy, and all else is arithmetic.
    wanted = [[0, 0.57270837, 1.0158378, 0.91181], [0, 0, 0.00530597, 0.10436834], [0, 0.9682195, 0, 0]]
    assert np.allclose(layer.apply(np.eye(3)), wanted, atol=1e-6)
    assert random_layer(Statistics(100), size_bytes=2**20).width == pytest.approx(337, abs=1)


def test_several_heads_decide_in_one_pass_as_they_do_alone():
    x, y = samples()
    s = Statistics(8)
    s.add(x, targets=x[:, :2])
    heads = {
        "kind": fit_head("slda", learnt(x, y)),
        "pose": fit_regressor("ridge", s),
        "group": fit_head("ridge", learnt(x, (y % 2).tolist(), shift=np.ones(8))),
    }
    together = MultiHead(heads).predict(x)
    assert np.array_equal(together["kind"], heads["kind"].predict(x))
    assert np.array_equal(together["group"], heads["group"].predict(x))
    assert close(together["pose"], heads["pose"].predict(x), 1e-12)
    with pytest.raises(StatisticsError):
        MultiHead({"a": heads["kind"], "b": fit_head("slda", learnt(x[:, :3], y))})


def test_calibration_makes_probabilities_honest_and_changes_no_decision():
    x, y = samples(2000, 8, seed=3)
    head = fit_head("gaussian_nb", learnt(x[:1000], y[:1000]))
    honest = calibrated(head, x[1000:1500], y[1000:1500])
    rest, truth = x[1500:], y[1500:]
    assert np.array_equal(honest.predict(rest), head.predict(rest))
    loss = [-np.log(h.predict_proba(rest)[np.arange(500), truth] + 1e-300).mean() for h in (head, honest)]
    assert loss[1] < loss[0]
    assert calibrated(head, x[:3], ["never seen"] * 3) is head


def test_classes_of_either_side_are_known():
    x, y = samples()
    prior = learnt(x[y < 3], y[y < 3], shift=x.mean(axis=0))
    head = fit_head("slda", Statistics(8), prior)
    assert head.classes == (0, 1, 2)
    assert np.array_equal(head.predict(x), fit_head("slda", prior).predict(x))
    new = Statistics(8)
    new.add(x[y == 3][:1], ["new"])
    for name in ("slda", "ncm", "ridge", "gaussian_nb"):
        head = fit_head(name, new, prior)
        assert head.classes == (0, 1, 2, "new")
        assert head.predict(x[y == 3][:1]).tolist() == ["new"], name
    with pytest.raises(FeatureSpaceError):
        fit_head("slda", learnt(x, y, feature_space="other"), prior)


def test_the_posterior_means_are_those_of_the_formula():
    x, y = samples()
    prior, target = learnt(x[:120], y[:120], shift=np.zeros(8)), learnt(x[120:] + 1, y[120:], shift=np.zeros(8))
    plain = fit_head("ncm", target, prior, n0=5.0)
    n, m, source = target.counts[:, None], target.means(), prior.means()
    assert close(plain.weights, (n * m + 5 * source) / (n + 5), 1e-12)


def test_auto_takes_the_head_that_fits_and_says_why():
    rng = np.random.default_rng(0)
    # Two classes apart along one feature among five wild ones: means mislead, and shrinkage to one variance too.
    y = np.arange(120) % 2
    x = rng.normal(size=(120, 6)) * np.array([1, 40, 40, 40, 40, 40]) + np.outer(y, [6, 0, 0, 0, 0, 0])
    store = Reservoir(6, 10**6)
    store.add(x, y, rng)
    chosen = fit_head("auto", learnt(x, y), reservoir=store)
    assert chosen.name == "ridge" and chosen.scores["ridge"] > chosen.scores["slda"] + 0.2
    assert "ridge is taken" in chosen.reason and "%" in chosen.reason
    easy = learnt(*samples())
    store = Reservoir(8, 10**6)
    store.add(*samples(), rng)
    kept = fit_head("auto", easy, reservoir=store)
    assert kept.name == "slda" and "standard error" in kept.reason
    assert "no stored samples" in fit_head("auto", learnt(x, y)).reason


@pytest.mark.parametrize("shrinkage", ["oas", "ledoit_wolf", "kubokawa", 0.5])
def test_every_shrinkage_of_slda_beats_chance(shrinkage):
    x, y = samples()
    assert (fit_head("slda", learnt(x, y), shrinkage=shrinkage).predict(x) == y).mean() > 0.8
    for options in ({"shrinkage": "no"}, {"shrinkage": 2.0}, {"n0": -1.0}, {"priors": "no"}):
        with pytest.raises(ValueError):
            fit_head("slda", learnt(x, y), learnt(x, y), **options)
