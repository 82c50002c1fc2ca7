"""Each adapter undoes the shift that it is for, and is what its paper says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from edgetl_runtime.adapt import ADAPTERS, Situation, adapt, load_adapted
from edgetl_runtime.adapt.adapted_head import AdaptedHead, adapted_head
from edgetl_runtime.adapt.checks import adapter_checks, example
from edgetl_runtime.adapt.lame import laplacian
from edgetl_runtime.adapt.maps import FeatureMap, coral_map, domain_moments, powered, restandardising_map
from edgetl_runtime.adapt.self_taught import device_basis
from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Moments, Statistics


def right(head, rows, codes):
    return float(np.mean(head.predict(rows) == [f"class {code}" for code in codes]))


def shifted(change, name, count=300, **options):
    """Accuracy of the head as it is, and adapted, on features that went through `change`."""
    situation, test, codes = example(count=count)
    there = dataclasses.replace(situation, rows=change(situation.rows))
    made = adapt(name, there, **options)
    return right(situation.head, change(test), codes), right(made.head, change(test), codes)


RNG = np.random.default_rng(5)
GAIN, OFFSET = np.exp(RNG.normal(size=8)), 6.0 * RNG.normal(size=8)
TOWARDS = RNG.normal(size=8) / np.sqrt(8)
MIX = np.eye(8) + 3.0 * np.outer(TOWARDS, TOWARDS)


def test_restandardising_undoes_gain_and_offset():
    before, after = shifted(lambda x: x * GAIN + OFFSET, "restandardise")
    assert before < 0.8 and after > 0.95


def test_coral_undoes_mixed_features():
    before, after = shifted(lambda x: x @ MIX + OFFSET, "coral", count=2000)
    assert before < 0.8 and after > before + 0.15


def test_prototypes_follow_classes_that_moved_on_their_own():
    situation, _, _ = example()
    rng = np.random.default_rng(0)
    steps = 3.0 * rng.normal(size=(4, 8))
    centres = np.stack([situation.source.means()[k] for k in range(4)]) + situation.source.shift
    codes = np.arange(600) % 4
    rows = centres[codes] + steps[codes] + rng.normal(size=(600, 8))
    there = dataclasses.replace(situation, rows=rows[:400])
    made = adapt("prototypes_in_place", there)
    before, after = (right(head, rows[400:], codes[400:]) for head in (situation.head, made.head))
    assert before < 0.9 and after > before + 0.08


@pytest.mark.parametrize("name", ["label_shift", "label_shift_bbse"])
def test_label_shift_adapters_recover_what_other_frequencies_cost(name):
    rng = np.random.default_rng(0)

    def drawn(count, shares):
        codes = rng.choice(3, count, p=shares)
        return np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.2]])[codes] + rng.normal(size=(count, 2)), codes

    from edgetl_runtime.adapt import recalibrated
    from edgetl_runtime.drift import Reference

    third = [1 / 3, 1 / 3, 1 / 3]
    (x, y), (held, held_codes), (free, _) = drawn(2000, third), drawn(600, third), drawn(800, [0.9, 0.05, 0.05])
    source = Statistics(2, x.mean(axis=0))
    source.add(x, y)
    head = recalibrated(fit_head("slda", Statistics(2, source.shift), prior=source), held, held_codes, biases=False)
    reference = Reference.of(head, source, held, held_codes)
    made = adapt(name, Situation(head, source, free, reference))
    test, codes = drawn(4000, [0.9, 0.05, 0.05])
    before, after = (float(np.mean(one.predict(test) == codes)) for one in (head, made.head))
    # The rule of Bayes with the true densities and frequencies is the most that can be had.
    logs = -0.5 * ((test[:, None] - np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.2]])) ** 2).sum(axis=2)
    bayes = float(np.mean((logs + np.log([0.9, 0.05, 0.05])).argmax(axis=1) == codes))
    assert after > before + 0.05 and after > bayes - 0.012


def test_label_shift_needs_held_out_samples():
    situation, _, _ = example()
    with pytest.raises(ValueError, match="reference"):
        adapt("label_shift", dataclasses.replace(situation, reference=None))


def test_self_training_learns_only_what_two_heads_agree_on():
    situation, _, _ = example()
    made = adapt("self_training", situation)
    assert 0 < made.evidence["taken"] <= 0.5 * len(situation.rows) + 4
    assert adapt("self_training", situation, confidence=1.1).evidence["taken"] == 0


def test_labelled_samples_go_through_the_map_before_the_head_is_fitted():
    situation, test, codes = example()
    change = lambda x: x * GAIN + OFFSET  # noqa: E731
    rows, labels = change(test[:40]), [f"class {code}" for code in codes[:40]]
    seen = []

    def fit(taught, names):
        seen.append(taught.copy())
        learnt = Statistics(8, situation.source.shift, "space")
        learnt.add(taught, names)
        return fit_head("slda", learnt, prior=situation.source)

    there = dataclasses.replace(
        situation, rows=change(situation.rows), labelled=rows, labels=labels, fit=fit, head=fit(rows, labels)
    )
    made = adapt("restandardise", there)
    assert np.abs(seen[-1] - test[:40]).mean() < 0.25 * np.abs(rows - test[:40]).mean()
    assert right(made.head, change(test), codes) > 0.95


def test_lame_is_the_fixed_point_of_its_formula_and_lowers_its_energy():
    rng = np.random.default_rng(0)
    logs = np.log(rng.dirichlet(np.ones(4), size=30))
    near = rng.random((30, 30)) < 0.15
    affinity = (near | near.T).astype(float) / 2.0
    np.fill_diagonal(affinity, 0.0)
    found = laplacian(logs, affinity, rounds=2000)
    unscaled = np.exp(logs + affinity @ found)
    assert np.allclose(found, unscaled / unscaled.sum(axis=1, keepdims=True), atol=1e-3)

    def energy(assigned):
        return (assigned * (np.log(assigned) - logs)).sum() - 0.5 * (assigned * (affinity @ assigned)).sum()

    assert energy(found) < energy(np.exp(logs))
    for _ in range(20):
        other = found * np.exp(0.1 * rng.normal(size=found.shape))
        assert energy(other / other.sum(axis=1, keepdims=True)) > energy(found) - 1e-3


def test_lame_mends_a_correlated_batch_and_leaves_one_sample_alone():
    situation, test, codes = example()
    noisy = test + 3.5 * np.random.default_rng(1).normal(size=test.shape)
    # Honest under this noise: a head that is too sure of itself listens to no neighbour.
    situation = dataclasses.replace(situation, head=situation.head.with_temperature(12.0))
    head = adapt("lame", situation).head
    assert np.allclose(head.predict_proba(noisy[:1]), situation.head.predict_proba(noisy[:1]))
    order = np.argsort(codes, kind="stable")
    batches = [order[start : start + 50] for start in range(0, len(order), 50)]
    after = np.mean([right(head, noisy[batch], codes[batch]) for batch in batches])
    assert after > right(situation.head, noisy, codes) + 0.05


def test_coral_on_statistics_is_coral_on_samples():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 3, rng.normal(size=(200, 5)) * 2
    s, t = [(x.mean(axis=0), np.cov(x.T, bias=True)) for x in (source, target)]
    mapped = coral_map(s, t).apply(target)
    assert np.allclose(mapped.mean(axis=0), s[0]) and np.allclose(np.cov(mapped.T, bias=True), s[1])
    there = coral_map(s, t, reverse=True).apply(source)
    assert np.allclose(there.mean(axis=0), t[0]) and np.allclose(np.cov(there.T, bias=True), t[1])
    bare = coral_map(s, t, centred=False)
    assert np.allclose(bare.apply(np.zeros((1, 5))), 0.0)
    assert np.allclose(powered(s[1], -0.5) @ powered(s[1], 0.5), np.eye(5))


def test_source_moments_at_other_frequencies_are_those_of_a_resampled_source():
    situation, _, _ = example()
    source = situation.source
    plain, at_own = domain_moments(source), domain_moments(source, dict.fromkeys(source.classes, 1.0))
    assert np.allclose(plain[0], at_own[0]) and np.allclose(plain[1], at_own[1])
    only = domain_moments(source, {source.classes[2]: 1.0})
    assert np.allclose(only[0], source.means()[2] + source.shift)
    assert np.allclose(only[1], source.within_scatter() / source.count)


def test_a_map_of_no_samples_is_no_map():
    situation, test, _ = example()
    moved = restandardising_map(domain_moments(situation.source), Moments.zero(8), situation.source.shift)
    assert np.allclose(moved.apply(test), test)
    none = dataclasses.replace(situation, rows=np.zeros((0, 8)))
    assert np.allclose(adapt("coral", none).head.decision(test), situation.head.decision(test))


def test_linear_heads_absorb_maps_and_others_carry_them():
    rng = np.random.default_rng(0)
    full = FeatureMap(rng.normal(size=8), rng.normal(size=(8, 8)), rng.normal(size=8))
    flat = FeatureMap(rng.normal(size=8), rng.normal(size=8), rng.normal(size=8))
    for kind in ("slda", "ridge", "ncm", "gaussian_nb"):
        situation, test, _ = example(head=kind)
        for moved in (full, flat):
            offset = rng.normal(size=4)
            head = adapted_head(situation.head, moved, offset)
            wanted = situation.head.decision(moved.apply(test)) + offset
            assert np.allclose(head.decision(test), wanted, rtol=1e-9, atol=1e-9)
            assert isinstance(head, AdaptedHead) == (kind == "gaussian_nb")
            assert np.allclose(head.with_temperature(3.0).decision(test), wanted)


def test_no_adapted_head_lends_its_factorisation_as_if_it_were_fitted():
    situation, _, _ = example()
    assert adapt("restandardise", situation).head.name != "slda"


def test_what_is_no_adapted_head_is_not_loaded():
    situation, _, _ = example(head="gaussian_nb")
    head = adapt("restandardise", situation).head
    arrays, metadata = head.state(), head.metadata()
    for spoilt in ({**metadata, "head": "?"}, {**metadata, "inner": 3}, {"head": "adapted"}, {**metadata, "more": 1}):
        with pytest.raises(StatisticsError):
            load_adapted(arrays, spoilt)
    for name in ("offset", "map.matrix", "map.before"):
        with pytest.raises(StatisticsError):
            load_adapted({key: array for key, array in arrays.items() if key != name}, metadata)
        with pytest.raises(StatisticsError):
            load_adapted({**arrays, name: np.zeros(3)}, metadata)
    deep = metadata
    for _ in range(9):
        deep = {"head": "adapted", "inner": deep}
    with pytest.raises(StatisticsError):
        load_adapted(arrays, deep)


def test_device_basis_holds_the_energy_it_is_asked_for():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 10)) * np.array([5, 4, 3, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    moments = Moments.zero(10)
    moments.add(rows, np.ones(500))
    basis = device_basis(moments, np.zeros(10), energy=0.95)
    assert basis.matrix.shape == (10, 3)
    whitened = device_basis(moments, np.zeros(10), energy=0.95, power=-0.5).apply(rows)
    assert np.allclose(np.cov(whitened.T, bias=True), np.eye(3), atol=1e-6)
    assert device_basis(moments, np.zeros(10), energy=1.0, most=2).matrix.shape == (10, 2)


def test_an_unknown_adapter_is_refused_by_name():
    with pytest.raises(ValueError, match="restandardise"):
        adapt("nonsense", example()[0])
    with pytest.raises(ValueError, match="linear"):
        adapt("t3a", example(head="gaussian_nb")[0])


def broken(situation):
    """An adapter that breaks promises: it writes into the buffer, and forgets what it was given."""
    situation.rows[:] = 0.0
    return adapt("restandardise", situation)


def drifting(situation, calls=[]):  # noqa: B006
    calls.append(1)
    made = adapt("restandardise", situation)
    return dataclasses.replace(made, head=adapted_head(made.head, offset=np.full(4, float(len(calls))) * np.arange(4)))


@pytest.mark.parametrize("make", [broken, drifting])
def test_the_contract_catches_adapters_that_break_it(make):
    caught = 0
    for check in adapter_checks(make, ADAPTERS["restandardise"]):
        try:
            check.run()
        except AssertionError:
            caught += 1
    assert caught
