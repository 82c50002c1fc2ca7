"""Order, partition and accuracy on real digits: scikit-learn's, the first 1,200 to learn, the last 597 to judge."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.heads import StreamingSoftmax, fit_head, random_layer
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics


@pytest.fixture(scope="module")
def digits():
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn, not installed")
    x, y = datasets.load_digits(return_X_y=True)
    return x.astype(np.float32), y


WAYS = ["sorted", "shuffled", "one at a time", "seven shards", "300 added and forgotten"]


def learnt_by(way, x, y, shift):
    s = Statistics(x.shape[1], shift=shift)
    rng = np.random.default_rng(0)
    if way == "sorted":
        order = np.argsort(y[:1200], kind="stable")
        s.add(x[order], y[order])
    elif way == "shuffled":
        order = rng.permutation(1200)
        s.add(x[order], y[order])
    elif way == "one at a time":
        for row, label in zip(x[:1200], y[:1200]):
            s.add(row[None], [label])
    elif way == "seven shards":
        for part in np.array_split(rng.permutation(1200), 7):
            shard = Statistics(x.shape[1], shift=x[part[0]])
            shard.add(x[part], y[part])
            s = s + shard
    else:
        s.add(x[:1200], y[:1200])
        others = Statistics(x.shape[1], shift=shift)
        others.add(x[1200:1500], y[1200:1500])
        s = (s + others) - others
    return s


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["slda", "ridge", "ncm", "ridge_rp"])
def test_every_way_of_learning_ends_in_the_same_weights(digits, name, way):
    x, y = digits
    whole, options = Statistics(64, shift=x[:1200].mean(axis=0)), {}
    whole.add(x[:1200], y[:1200])
    shift = x[:1200].mean(axis=0)
    if name == "ridge_rp":
        layer = random_layer(whole, 300)
        options, x = {"layer": layer}, layer.apply(x)
        shift = x[:1200].mean(axis=0)
        whole = Statistics(300, shift=shift)
        whole.add(x[:1200], y[:1200])
    if "ridge" in name:
        options["penalty"] = 10.0
    wanted = fit_head(name, whole, **options)
    got = fit_head(name, learnt_by(way, x, y, shift), **options)
    for key in ("weights", "bias"):
        reference = wanted.state()[key]
        assert np.abs(got.state()[key] - reference).max() <= 1e-9 * np.abs(reference).max()


@pytest.mark.parametrize(("name", "percent"), [("slda", 91.0), ("ridge", 87.8), ("ridge_rp", 96.9)])
def test_accuracy_is_the_published_one(digits, name, percent):
    x, y = digits
    s, options = Statistics(64), {}
    s.add(x[:1200], y[:1200])
    rows = x
    if name == "ridge_rp":
        layer = random_layer(s, 2000)
        s, rows, options = Statistics(2000), layer.apply(x), {"layer": layer}
        s.add(rows[:1200], y[:1200])
    reached = 100 * (fit_head(name, s, **options).predict(x[1200:]) == y[1200:]).mean()
    assert abs(reached - percent) <= 0.5


def test_plain_gradient_steps_forget_what_is_sorted_and_replay_does_not(digits):
    x, y = digits
    order = np.argsort(y[:1200], kind="stable")
    reached = {}
    for kept in (0, 20):
        store = Reservoir(64, kept * 10 * 128, same=1.1) if kept else None
        stream = StreamingSoftmax(np.zeros(64), np.ones(64), store)
        stream.learn(x[order], y[order], np.random.default_rng(0))
        reached[kept] = 100 * (stream.head().predict(x[1200:]) == y[1200:]).mean()
    assert reached[0] < 15 and reached[20] >= 86
