"""Steering as a robot meets it: headings across the jump at half a turn, frames that resemble their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.heads import angle_targets, angles_of, fit_regressor, random_layer
from edgetl_runtime.heads.leave_one_out import loo_ridge_targets
from edgetl_runtime.statistics import Statistics

DIM = 12


def drive(count, seed, stay=1):
    """Features (N, D) of noisy headings (N) all around the circle, each seen in `stay` frames that hardly differ."""
    rng = np.random.default_rng(seed)
    headings = np.repeat(rng.uniform(-np.pi, np.pi, count // stay), stay)
    mixing = np.random.default_rng(99).normal(size=(4, DIM))
    kept = np.repeat(rng.normal(size=(count // stay, DIM)), stay, axis=0)
    seen = np.stack([np.sin(headings), np.cos(headings), np.sin(2 * headings), np.cos(2 * headings)], axis=1)
    features = seen @ mixing + kept + 0.01 * rng.normal(size=(count, DIM)) + 3.0
    return features, headings


def learnt(x, headings, shift=None):
    s = Statistics(x.shape[1], shift)
    s.add(x, targets=angle_targets(headings))
    return s


def turn(found, wanted):
    """The angle between two headings, the short way round."""
    return np.abs(np.angle(np.exp(1j * (found - wanted))))


@pytest.mark.parametrize("name", ["ridge", "ridge_rp"])
def test_headings_are_found_across_the_jump_where_plain_angles_fail(name):
    (x, headings), (new, wanted) = drive(600, 0), drive(400, 1)
    options, apply = {}, np.asarray
    if name == "ridge_rp":
        options["layer"] = random_layer(learnt(x, headings), 150)
        apply = options["layer"].apply
    found = angles_of(fit_regressor(name, learnt(apply(x), headings), **options).predict(new))
    plain = Statistics(apply(x).shape[1])
    plain.add(apply(x), targets=headings)
    jumping = fit_regressor(name, plain, **options).predict(new)[:, 0]
    near_jump = np.abs(wanted) > np.pi - 0.5
    assert near_jump.sum() > 30
    assert np.median(turn(found, wanted)[near_jump]) < 0.3 < 0.6 < np.median(turn(jumping, wanted)[near_jump])


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("stay", [1, 5])
def test_targets_left_out_are_those_of_refitting_without_them(stay, with_prior):
    x, headings = drive(60, 2, stay)
    prior = learnt(*drive(300, 3)) if with_prior else None
    groups = None if stay == 1 else np.arange(60) // stay
    options = {"penalty": 2.0, "weight": 4.0}
    got = loo_ridge_targets(learnt(x, headings), x, angle_targets(headings), prior, groups=groups, **options)
    wanted = np.empty((60, 2))
    for first in range(0, 60, stay):
        out = (np.arange(60) >= first) & (np.arange(60) < first + stay)
        wanted[out] = fit_regressor("ridge", learnt(x[~out], headings[~out]), prior, **options).predict(x[out])
    assert np.abs(got - wanted).max() < 1e-9


def test_leaving_out_one_of_many_like_frames_promises_too_much():
    (x, headings), (new, wanted) = drive(200, 4, stay=10), drive(400, 5)
    whole, targets = learnt(x, headings), angle_targets(headings)
    alone, together = (
        np.mean((loo_ridge_targets(whole, x, targets, penalty=0.1, groups=groups) - targets) ** 2)
        for groups in (None, np.arange(200) // 10)
    )
    held_out = np.mean((fit_regressor("ridge", whole, penalty=0.1).predict(new) - angle_targets(wanted)) ** 2)
    assert alone < 0.2 * held_out < 0.4 * held_out < together < 2.5 * held_out


def test_groups_are_one_name_a_sample_and_leave_something():
    x, headings = drive(20, 6)
    for groups in (np.zeros(20), np.arange(19)):
        with pytest.raises(ValueError, match="group"):
            loo_ridge_targets(learnt(x, headings), x, angle_targets(headings), groups=groups)
    assert loo_ridge_targets(Statistics(DIM), x[:0], np.zeros((0, 2)), learnt(x, headings)).shape == (0, 2)


def test_predicted_spread_is_that_of_new_frames_and_grows_away_from_what_was_seen():
    (x, headings), (new, wanted) = drive(600, 7), drive(2000, 8)
    head = fit_regressor("ridge", learnt(x, headings), variance=True)
    variance = head.predict_variance(new)
    errors = head.predict(new) - angle_targets(wanted)
    assert np.mean(errors**2) == pytest.approx(variance.mean(), rel=0.15)
    assert 0.6 < np.mean(np.abs(errors) < np.sqrt(variance)) < 0.76
    away = new[:1] + np.array([0.0, 5.0, 50.0])[:, None]
    first, second, third = head.predict_variance(away)[:, 0]
    assert first < second < third and third > 3 * first


def test_the_noise_is_the_same_with_and_without_the_variance_of_the_fit():
    x, headings = drive(20, 9)
    for penalty in (0.1, "gcv"):
        plain, full = (fit_regressor("ridge", learnt(x, headings), penalty=penalty, variance=v) for v in (False, True))
        assert np.allclose(plain.noise, full.noise, rtol=1e-10)
    # 20 samples for 12 weights: the spread of what is left, undivided, would say far too little.
    left = np.mean((plain.predict(x) - angle_targets(headings)) ** 2, axis=0)
    assert (plain.noise > 1.5 * left).all()


def test_counting_learnt_samples_many_times_makes_no_evidence():
    (x, _), (few, _) = drive(60, 10), drive(20, 11)
    rng = np.random.default_rng(12)
    slopes = rng.normal(size=DIM)
    shift = x.mean(axis=0)
    prior, own = Statistics(DIM, shift), Statistics(DIM, shift)
    # One draw of the noise a target: the spread over the targets is what the head should expect.
    sides = [rows @ slopes[:, None] + rng.normal(size=(len(rows), 4000)) for rows in (x, few)]
    prior.add(x, targets=sides[0])
    own.add(few, targets=sides[1])
    new = np.concatenate([few[:3], x[:3], x[:1] + 4.0])
    for weight in (1.0, 20.0):
        head = fit_regressor("ridge", own, prior, weight=weight, penalty=1e-6, variance=True)
        assert head.noise.mean() == pytest.approx(1.0, rel=0.02)
        errors = head.predict(new) - (new @ slopes)[:, None]
        # The error of the fit, and the noise of the new sample itself.
        assert np.allclose(np.mean(errors**2, axis=1) + 1.0, head.predict_variance(new).mean(axis=1), rtol=0.05)
        plain = fit_regressor("ridge", own, prior, weight=weight, penalty=1e-6)
        assert np.allclose(plain.noise, head.noise, rtol=1e-10)


@pytest.mark.parametrize("count", [15, 30])
def test_a_head_with_fewer_samples_than_features_does_not_claim_certainty(count):
    rng = np.random.default_rng(count)
    # Most of what is to be told does not lie in the few directions that were seen.
    slopes = rng.normal(size=200)
    x, new = rng.normal(size=(count, 200)), rng.normal(size=(1000, 200))
    s = Statistics(200)
    s.add(x, targets=x @ slopes)
    head = fit_regressor("ridge", s, variance=True)
    errors = head.predict(new)[:, 0] - new @ slopes
    assert 0.3 < head.predict_variance(new).mean() / np.mean(errors**2) < 3.0
