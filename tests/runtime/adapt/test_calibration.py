"""Calibration finds the greatest likelihood, and little of it where labels are few."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.adapt import fit_calibration, recalibrated
from edgetl_runtime.adapt.calibration import expected_calibration_error
from edgetl_runtime.adapt.checks import example
from edgetl_runtime.errors import LabelError
from edgetl_runtime.heads import calibrated, fit_head
from edgetl_runtime.numerics import log_softmax, softmax
from edgetl_runtime.statistics import Statistics


def drawn(count, temperature=1.7, spread=0.7, seed=0, k=6):
    rng = np.random.default_rng(seed)
    biases = spread * rng.normal(size=k)
    honest = 2.0 * rng.normal(size=(count, k))
    codes = np.array([rng.choice(k, p=row) for row in softmax(honest + biases)])
    return temperature * honest, codes, biases - biases.mean()


def likelihood(decision, codes, found):
    return float(log_softmax(decision / found.temperature + found.biases)[np.arange(len(codes)), codes].sum())


def test_newton_finds_the_temperature_of_a_scalar_search():
    optimize = pytest.importorskip("scipy.optimize", reason="the reference is SciPy: pip install scipy")
    decision, codes, _ = drawn(3000)
    found = fit_calibration(decision, codes, biases=False, strength=0.0)

    def loss(log_temperature):
        return -log_softmax(decision / np.exp(log_temperature))[np.arange(3000), codes].mean()

    least = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert np.isclose(found.temperature, np.exp(least.x), rtol=1e-5)
    assert (found.biases == 0).all()


def test_biases_and_temperature_of_many_samples_are_the_true_ones():
    decision, codes, biases = drawn(20000)
    found = fit_calibration(decision, codes)
    assert abs(found.temperature - 1.7) < 0.05 and np.abs(found.biases - biases).max() < 0.12
    assert abs(found.biases.sum()) < 1e-9


def test_no_step_away_is_likelier():
    decision, codes, _ = drawn(800)
    found = fit_calibration(decision, codes, strength=0.0)
    best = likelihood(decision, codes, found)
    rng = np.random.default_rng(0)
    for _ in range(30):
        other = type(found)(
            found.temperature * float(np.exp(0.02 * rng.normal())), found.biases + 0.02 * rng.normal(size=6)
        )
        assert likelihood(decision, codes, other) < best + 1e-9


def test_few_labels_change_little_and_separable_ones_do_not_run_away():
    decision, codes, _ = drawn(5)
    found = fit_calibration(decision, codes)
    assert 0.5 < found.temperature < 3.0 and np.abs(found.biases).max() < 0.3
    sure = fit_calibration(20.0 * np.eye(3)[np.arange(60) % 3], np.arange(60) % 3)
    assert 0.05 < sure.temperature <= 2.0
    assert fit_calibration(decision[:0], codes[:0]).temperature == 1.0
    with pytest.raises(LabelError):
        fit_calibration(decision, codes[:2])


def test_a_scale_of_the_decision_values_only_scales_the_temperature():
    decision, codes, _ = drawn(500)
    one = fit_calibration(decision, codes, strength=0.0)
    ten = fit_calibration(10.0 * decision, codes, start=10.0, strength=0.0)
    assert np.isclose(ten.temperature, 10.0 * one.temperature, rtol=1e-6)
    assert np.allclose(ten.biases, one.biases, atol=1e-5)


def test_a_recalibrated_head_is_honest():
    situation, test, codes = example()
    noisy = test + 3.0 * np.random.default_rng(0).normal(size=test.shape)
    half = len(test) // 2
    labels = [f"class {code}" for code in codes]
    hot = situation.head.with_temperature(0.2)
    for biases in (False, True):
        head = recalibrated(hot, noisy[:half], labels[:half], biases=biases)
        before = expected_calibration_error(hot.predict_proba(noisy[half:]), codes[half:])
        after = expected_calibration_error(head.predict_proba(noisy[half:]), codes[half:])
        assert after < 0.6 * before
    same = recalibrated(hot, noisy[:half], labels[:half], biases=False)
    assert np.array_equal(same.decision(noisy), hot.decision(noisy))
    assert recalibrated(hot, noisy[:2], ["never", "seen"]) is hot


def test_separable_guard_sets_of_any_size_leave_a_temperature_of_some_size():
    """With nothing wrong in it every temperature down to zero is likelier."""
    generator = np.random.default_rng(0)
    for count in (30, 200, 2000):
        labels = np.arange(count) % 3
        rows = 40.0 * np.eye(3, 4)[labels] + generator.normal(size=(count, 4))
        learnt = Statistics(4)
        learnt.add(rows, labels)
        head = fit_head("slda", learnt)
        honest = calibrated(head, rows, labels)
        before, after = (float(one.metadata().get("temperature", 1.0)) for one in (head, honest))
        assert before / 50 < after < before * 50
        assert np.array_equal(head.predict(rows), honest.predict(rows))
