"""Unlabelled samples on the device: kept in bounds, asked about without bias, put together by likeness."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgetl_runtime.adapt import Buffer, Likeness, QuestionBudget, choose_questions, clusters, estimated_mean
from edgetl_runtime.errors import SampleError, StatisticsError
from edgetl_runtime.statistics import Statistics


def test_a_buffer_keeps_the_newest_in_order_and_in_bounds():
    buffer = Buffer(3, size_bytes=5 * 6)
    for place in range(13):
        assert buffer.add(np.full(3, place), float(place))
    assert len(buffer) == 5 and buffer.features[:, 0].tolist() == [8, 9, 10, 11, 12]
    assert buffer.stamps.tolist() == [8, 9, 10, 11, 12]


def test_neighbouring_frames_are_passed_over():
    buffer = Buffer(2, 1000, gap_s=0.5)
    kept = [buffer.add(np.ones(2), stamp) for stamp in (0.0, 0.1, 0.49, 0.5, 0.7, 1.0, 0.2)]
    assert kept == [True, False, False, True, False, True, True]


def test_a_restored_buffer_goes_on_as_if_nothing_had_been():
    one = Buffer(2, 4 * 7)
    for place in range(40):
        one.add([place, -place], float(place))
        other = Buffer.from_state(one.state(), json.loads(json.dumps(one.metadata())))
        other.add([99.0, 1.0], 99.0)
        copy = Buffer.from_state(one.state(), one.metadata())
        copy.add([99.0, 1.0], 99.0)
        assert np.array_equal(other.features, copy.features) and other.features[-1, 0] == 99
        kept = one.features[max(0, len(one) - 6) :]
        assert np.array_equal(other.features[:-1], kept)


def test_a_buffer_refuses_what_is_no_feature_and_what_is_no_state():
    buffer = Buffer(2, 100)
    for bad in ([np.nan, 0.0], [1.0], [np.inf, 1.0]):
        with pytest.raises(SampleError):
            buffer.add(bad, 0.0)
    buffer.add([1e9, -1e9], 0.0)
    assert np.isfinite(buffer.features).all()
    state = buffer.state()
    for spoilt in ({}, {**state, "stamps": np.zeros(3)}, {**state, "features": np.zeros((1, 3), np.float16)}):
        with pytest.raises(StatisticsError):
            Buffer.from_state(spoilt, buffer.metadata())
    with pytest.raises(ValueError, match="size_bytes"):
        Buffer(8, 10)
    buffer.clear()
    assert len(buffer) == 0 and buffer.features.shape == (0, 2)


def asked(seed=0, count=300, budget=12):
    rng = np.random.default_rng(seed)
    sure = rng.random(count)
    probabilities = np.stack([0.5 + sure / 2, 0.5 - sure / 2], axis=1)
    return probabilities, rng.normal(size=(count, 4)), budget


def test_every_sample_is_asked_about_as_often_as_said():
    probabilities, features, budget = asked()
    times = np.zeros(len(features))
    runs = 4000
    for seed in range(runs):
        questions = choose_questions(probabilities, features, budget, np.random.Generator(np.random.PCG64(seed)))
        assert len(set(questions.rows.tolist())) == len(questions.rows) == budget
        times[questions.rows] += 1
    assert np.isclose(questions.chances.sum(), budget)
    spread = np.sqrt(questions.chances * (1 - questions.chances) / runs)
    assert (np.abs(times / runs - questions.chances) < 5 * spread).all()


def test_answers_are_counted_without_bias_though_the_hard_ones_are_asked_about():
    probabilities, features, budget = asked(count=400, budget=40)
    truth = (np.random.default_rng(1).random(400) < probabilities[:, 0]).astype(float)
    weighted, plain = [], []
    for seed in range(800):
        questions = choose_questions(probabilities, features, budget, np.random.Generator(np.random.PCG64(seed)))
        weighted.append(estimated_mean(truth[questions.rows], questions.chances[questions.rows]))
        plain.append(truth[questions.rows].mean())
    assert abs(np.mean(weighted) - truth.mean()) < 0.012
    assert abs(np.mean(plain) - truth.mean()) > 0.08


def test_questions_go_to_the_least_sure_and_are_spread():
    probabilities, features, budget = asked(count=400, budget=10)
    features = np.repeat(features[:40], 10, axis=0)
    listed, pairs = [], []
    for seed in range(100):
        questions = choose_questions(probabilities, features, budget, np.random.Generator(np.random.PCG64(seed)))
        margins = probabilities[:, 0] - probabilities[:, 1]
        listed.append((margins[questions.rows] <= np.sort(margins)[39]).mean())
        pairs.append(budget - len({row // 10 for row in questions.rows.tolist()}))
    assert np.mean(listed) > 0.7 and np.mean(pairs) < 0.7


def test_odd_questions_are_answered():
    generator = np.random.Generator(np.random.PCG64(0))
    assert len(choose_questions(np.zeros((0, 3)), np.zeros((0, 2)), 4, generator).rows) == 0
    all_of_them = choose_questions(np.full((5, 1), 1.0), np.zeros((5, 2)), 9, generator)
    assert sorted(all_of_them.rows.tolist()) == [0, 1, 2, 3, 4] and (all_of_them.chances == 1).all()
    with pytest.raises(ValueError, match="explore"):
        choose_questions(np.full((5, 2), 0.5), np.zeros((5, 2)), 2, generator, explore=0.0)


def test_no_more_questions_than_a_day_allows():
    budget = QuestionBudget(3)
    budget.spend(2, 0.0)
    assert budget.left(10.0) == 1
    with pytest.raises(ValueError, match="left"):
        budget.spend(2, 20.0)
    budget.spend(1, 3600.0)
    assert budget.left(86399.0) == 0 and budget.left(86400.0) == 2
    other = QuestionBudget(3)
    other.restore(json.loads(json.dumps(budget.state()))["asked"])
    assert other.left(86399.0) == 0


def world(seed=0, classes=4, new=3, dim=10):
    rng = np.random.default_rng(seed)
    centres = 3.0 * rng.normal(size=(classes + new, dim))
    mix = rng.normal(size=(dim, dim)) / np.sqrt(dim)

    def drawn(codes):
        return centres[codes] + rng.normal(size=(len(codes), dim)) @ mix

    source = Statistics(dim)
    codes = rng.integers(0, classes, 500)
    source.add(drawn(codes), codes)
    held = rng.integers(0, classes, 100)
    return source, drawn(held), held, drawn, classes


def test_unknown_samples_that_look_alike_come_together_and_one_label_teaches_them():
    for seed in range(4):
        source, held, held_codes, drawn, known = world(seed)
        codes = np.repeat([known, known + 1, known + 2], [14, 9, 6])
        order = np.random.default_rng(0).permutation(len(codes))
        codes = codes[order]
        found = clusters(drawn(codes), Likeness.of(source, held, held_codes))
        pure = sum(np.bincount(codes[list(one.members)]).max() for one in found)
        covered = sum(len(one.members) for one in found)
        assert covered >= 0.6 * len(codes) and pure >= 0.95 * covered
        assert [len(one.members) for one in found] == sorted((len(one.members) for one in found), reverse=True)
        assert f"these {len(found[0].members)} look alike" in found[0].question()


def test_average_linkage_agrees_with_scipy():
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    source, held, held_codes, drawn, known = world(1)
    rows = drawn(np.random.default_rng(2).integers(0, known + 3, 60))
    likeness = Likeness.of(source, held, held_codes)
    wanted = hierarchy.fcluster(
        hierarchy.linkage(distance.squareform(1.0 - likeness.between(rows), checks=False), "average"),
        1.0 - likeness.threshold,
        "distance",
    )
    want = {tuple(sorted(np.flatnonzero(wanted == k).tolist())) for k in np.unique(wanted)}
    got = {tuple(sorted(one.members)) for one in clusters(rows, likeness, least=1)}
    assert got == want


def test_few_or_no_samples_make_no_cluster():
    source, held, held_codes, drawn, known = world()
    likeness = Likeness.of(source, held, held_codes)
    assert clusters(np.zeros((0, 10)), likeness) == () and clusters(drawn(np.array([known])), likeness) == ()
    assert len(clusters(drawn(np.full(40, known)), likeness, most=10)[0].members) <= 10
