"""The statistics core is an exact, order-free group in float64."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgetl_runtime.errors import EdgetlError, FeatureSpaceError, LabelError, SampleError, StatisticsError
from edgetl_runtime.heads import TaskStatistics
from edgetl_runtime.statistics import Statistics
from hypothesis import given
from hypothesis import strategies as st


def samples(count=300, dim=7, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    x = (3.0 + rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim))).astype(np.float32)
    return x, rng.integers(0, classes, count).tolist()


def filled(x, y, dim=None, **options):
    result = Statistics(x.shape[1] if dim is None else dim, **options)
    result.add(x, y)
    return result


def distance(a, b):
    """Largest relative difference of any array of two statistics."""
    first, second = a.state(), b.state()
    assert set(first) == set(second) and a.metadata() == b.metadata()
    return max(np.abs(first[k] - second[k]).max() / max(np.abs(second[k]).max(), 1e-30) for k in first)


def test_sums_are_those_of_the_definition():
    x, y = samples()
    shift = np.linspace(-1, 1, 7)
    s = filled(x, y, shift=shift)
    rows, codes = x.astype(np.float64) - shift, np.array(y)
    assert s.classes == (0, 1, 2, 3)
    assert np.array_equal(s.counts, np.bincount(codes))
    assert np.allclose(s.moments.gram, rows.T @ rows, rtol=1e-12, atol=0)
    assert np.allclose(s.moments.cubic, ((rows**2).sum(1)[:, None] * rows).sum(0), rtol=1e-10)
    assert np.isclose(s.moments.quartic, ((rows**2).sum(1) ** 2).sum(), rtol=1e-12)
    raw = x.astype(np.float64)
    for k in range(4):
        mine = codes == k
        assert np.allclose(s.by_class.sums[k], rows[mine].sum(0), rtol=1e-10)
        assert np.allclose(s.by_class.squares[k], (rows[mine] ** 2).sum(0), rtol=1e-10)
        unit = raw[mine] / np.linalg.norm(raw[mine], axis=1)[:, None]
        assert np.allclose(s.by_class.directions[k], unit.sum(0), rtol=1e-10)
    within = sum(np.cov(rows[codes == k].T, bias=True) * (codes == k).sum() for k in range(4))
    assert np.allclose(s.within_scatter(), within, rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(0, 200), max_size=12))
def test_how_a_stream_is_cut_changes_no_bit(cuts):
    x, y = samples(1100, 5)
    whole, pieces = filled(x, y, shift=np.zeros(5)), Statistics(5, shift=np.zeros(5))
    edges = sorted({0, 1100, *(int(c * 5.5) for c in cuts)})
    for start, stop in zip(edges, edges[1:]):
        pieces.add(x[start:stop], y[start:stop])
    assert distance(pieces, whole) == 0.0


def test_one_at_a_time_changes_no_bit_even_without_a_given_shift():
    x, y = samples(1100, 5)
    whole, single = filled(x, y), Statistics(5)
    for row, label in zip(x, y):
        single.add(row[None], [label])
    assert distance(single, whole) == 0.0


@pytest.mark.parametrize("offset", [1.0, 5.0])
def test_precision_on_ill_conditioned_relu_features(offset):
    rng = np.random.default_rng(1)
    dim, count = 256, 20_000
    mixing = rng.normal(size=(dim, dim)) * np.logspace(0, -4, dim)
    rows = np.maximum(rng.normal(size=(count, dim)) @ mixing, 0.0)
    rows = (rows + offset * rows.std(axis=0)).astype(np.float32)
    labels = rng.integers(0, 10, count)
    mean = rows[:1000].mean(axis=0)
    edges = np.sort(rng.choice(np.arange(1, count), 999, replace=False)).tolist()
    s = Statistics(dim, shift=mean)
    for start, stop in zip([0, *edges], [*edges, count]):
        s.add(rows[start:stop], labels[start:stop])
    centred = rows.astype(np.float64) - mean
    batch = centred.T @ centred
    assert np.abs(s.moments.gram - batch).max() <= 1e-10 * np.abs(batch).max()
    assert np.abs(np.diagonal(s.moments.gram) / np.diagonal(batch) - 1).max() <= 1e-10
    means = np.stack([centred[labels == k].mean(axis=0) for k in range(10)])
    assert np.abs(s.means() - means).max() <= 1e-10 * np.abs(means).max()


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_order_and_partition_do_not_matter(shards, seed):
    x, y = samples(240, 6, seed=seed)
    order = np.random.default_rng(seed).permutation(240)
    whole = filled(x, y, shift=np.zeros(6))
    merged = Statistics(6)
    for part in np.array_split(order, shards):
        merged = merged + filled(x[part], [y[i] for i in part], shift=np.zeros(6))
    assert distance(merged, whole) < 1e-11


def test_what_is_added_and_subtracted_again_leaves_no_trace():
    x, y = samples(400, 6)
    kept, gone = filled(x[:300], y[:300], shift=np.zeros(6)), filled(x[300:], ["z"] * 100, shift=np.zeros(6))
    rest = (kept + gone) - gone
    assert rest.classes == kept.classes
    assert distance(rest, kept) < 1e-11
    nothing = kept - kept
    assert nothing.classes == () and nothing.count == 0


def test_shifts_that_differ_are_converted_exactly():
    x, y = samples(400, 6)
    a, b = filled(x[:150], y[:150], shift=np.full(6, 2.0)), filled(x[150:], y[150:], shift=np.linspace(0, 5, 6))
    for side in (a, b):
        side.add_unlabelled(x[:50])
    whole = filled(x, y, shift=np.full(6, 2.0))
    whole.add_unlabelled(np.concatenate([x[:50], x[:50]]))
    assert distance(a + b, whole) < 1e-11
    assert distance((b + a).moved(np.full(6, 2.0)), whole) < 1e-11


def test_targets_and_their_shift():
    x, _ = samples(200, 5)
    y = np.stack([x[:, 0] - x[:, 1], np.ones(200)], axis=1)
    s = Statistics(5, shift=np.ones(5))
    s.add(x, targets=y)
    rows = x.astype(np.float64) - 1
    assert s.target_count == 2 and s.count == 200
    assert np.allclose(s.targets.cross, rows.T @ y, rtol=1e-10)
    moved = s.moved(np.zeros(5))
    assert np.allclose(moved.targets.cross, x.astype(np.float64).T @ y, rtol=1e-10)
    both = s + moved
    assert np.allclose(both.targets.gram, 2 * y.T @ y, rtol=1e-10)
    assert distance(both - moved, s) < 1e-10


def test_weights_are_repetitions_and_decay_is_a_weight():
    x, y = samples(30, 4)
    twice = Statistics(4, shift=np.zeros(4))
    twice.add(x, y, weights=np.full(30, 2.0))
    assert distance(twice, filled(np.repeat(x, 2, axis=0), np.repeat(y, 2), shift=np.zeros(4))) < 1e-12
    assert distance(filled(x, y, shift=np.zeros(4)).scaled(2.0), twice) < 1e-12
    forgetting, weights = Statistics(4, shift=np.zeros(4)), 0.9 ** np.arange(29, -1, -1.0)
    for position, (row, label) in enumerate(zip(x, y)):
        forgetting.decay(0.9)
        forgetting.add(row[None], [label])
        if position % 7 == 0:
            forgetting.moments  # noqa: B018 - reading folds, and must not change the sum
    weighted = Statistics(4, shift=np.zeros(4))
    weighted.add(x, y, weights=weights)
    assert distance(forgetting, weighted) < 1e-12


@pytest.mark.parametrize("labels", [[0, 1, 2] * 10, ["a", 7, "b"] * 10])
def test_saved_and_loaded_it_is_the_same_bit_for_bit(labels):
    x, _ = samples(30, 5)
    s = filled(x, labels, feature_space="abc")
    s.add_unlabelled(x[:3])
    metadata = json.loads(json.dumps(s.metadata()))
    loaded = Statistics.from_state(s.state(), metadata)
    assert loaded.classes == s.classes and loaded.feature_space == "abc"
    for one in (s, loaded):
        one.add(x, labels)
    assert distance(loaded, s) == 0.0


def test_an_empty_one_is_saved_and_loaded_too():
    empty = Statistics(3)
    assert Statistics.from_state(empty.state(), empty.metadata()).count == 0


def spoilt_states():
    x, y = samples(30, 3)
    s = filled(x, y)
    arrays, metadata = s.state(), s.metadata()
    yield "a count is negative", {**arrays, "counts": -arrays["counts"]}, metadata
    yield "NaN", {**arrays, "gram": arrays["gram"] * np.nan}, metadata
    yield "float32", {**arrays, "sums": arrays["sums"].astype(np.float32)}, metadata
    yield "shape", {**arrays, "sums": arrays["sums"][:, :2]}, metadata
    yield "missing", {k: v for k, v in arrays.items() if k != "sum"}, metadata
    yield "extra", {**arrays, "more": arrays["sum"]}, metadata
    yield "counts do not add up", {**arrays, "count": arrays["count"] + 5}, metadata
    yield "negative square", {**arrays, "gram": -arrays["gram"]}, metadata
    for key, value in (
        ("dim", 4), ("dim", True), ("format", 2), ("classes", [0, 1, 2]), ("classes", [1, 0, 2, 3]),
        ("classes", [0, 0, 2, 3]), ("classes", [0, 1, 2, None]), ("labels", None), ("feature_space", 3),
        ("target_count", 1), ("extra", 1),
    ):  # fmt: skip
        yield f"{key}={value}", arrays, {**metadata, key: value}


@pytest.mark.parametrize(("arrays", "metadata"), [pytest.param(a, m, id=n) for n, a, m in spoilt_states()])
def test_a_spoilt_state_is_refused(arrays, metadata):
    with pytest.raises(StatisticsError):
        Statistics.from_state(arrays, metadata)


@pytest.mark.parametrize(
    ("error", "features", "options"),
    [
        (SampleError, np.full((2, 3), np.nan), {"labels": [0, 1]}),
        (SampleError, np.ones((2, 4)), {"labels": [0, 1]}),
        (SampleError, np.ones(3), {"labels": [0]}),
        (SampleError, np.array([["a"] * 3]), {"labels": [0]}),
        (SampleError, np.ones((2, 3)), {"labels": [0, 1], "weights": [1.0, -1.0]}),
        (SampleError, np.ones((2, 3)), {"labels": [0, 1], "weights": [1.0, np.inf]}),
        (LabelError, np.ones((2, 3)), {"labels": [0]}),
        (LabelError, np.ones((2, 3)), {"labels": ["new", ""]}),
        (LabelError, np.ones((2, 3)), {"labels": ["new", "x" * 10_000]}),
        (LabelError, np.ones((2, 3)), {"labels": ["new", 1.5]}),
        (LabelError, np.ones((2, 3)), {"labels": ["new", True]}),
        (LabelError, np.ones((2, 3)), {"labels": "ab"}),
        (LabelError, np.ones((2, 3)), {"labels": ["new", 2**70]}),
        (StatisticsError, np.ones((2, 3)), {}),
        (StatisticsError, np.ones((2, 3)), {"targets": [1.0, 2.0]}),
    ],
)
def test_bad_samples_change_nothing(error, features, options):
    x, y = samples(20, 3)
    s, before = filled(x, y), filled(x, y)
    with pytest.raises(error):
        s.add(features, **options)
    assert distance(s, before) == 0.0


def test_what_was_never_added_cannot_be_subtracted():
    x, y = samples(60, 4)
    s = filled(x[:30], y[:30], shift=np.zeros(4))
    before = s.copy()
    swapped = filled(x[:10] * 9, y[:10], shift=np.zeros(4))
    for other in (filled(x, y, shift=np.zeros(4)), filled(x[:1], ["never"], shift=np.zeros(4)), swapped):
        with pytest.raises(StatisticsError):
            s - other
    assert distance(s, before) == 0.0


def test_feature_spaces_never_mix():
    x, y = samples(20, 4)
    a, b = filled(x, y, feature_space="a"), filled(x, y, feature_space="b")
    for act in (lambda: a + b, lambda: a - b, lambda: a + filled(x[:, :3], y)):
        with pytest.raises(FeatureSpaceError):
            act()
    targets = Statistics(4, feature_space="a")
    targets.add(x, targets=x[:, 0])
    with pytest.raises(StatisticsError):
        a + targets


def test_operands_are_not_changed_by_arithmetic():
    x, y = samples(50, 4)
    a, b = filled(x[:20], y[:20]), filled(x[20:], ["other"] * 30, shift=np.ones(4))
    a_before, b_before = a.copy(), b.copy()
    total = a + b
    total.add(x, y)
    total - b
    assert distance(a, a_before) == 0.0 and distance(b, b_before) == 0.0


def test_several_tasks_with_missing_labels():
    x, y = samples(40, 4)
    tasks = TaskStatistics(4, {"kind": "labels", "angle": "targets"}, shift=np.zeros(4))
    kinds = [label if position % 3 else None for position, label in enumerate(y)]
    angles = np.where(np.arange(40)[:, None] % 2, x[:, :1], np.nan)
    tasks.add(x, kind=kinds, angle=angles)
    mask = np.arange(40) % 3 > 0
    wanted = filled(x[mask], [label for label in kinds if label is not None], shift=np.zeros(4))
    assert distance(tasks["kind"], wanted) == 0.0
    assert tasks["angle"].count == 20
    for wrong in ({"kind": [1]}, {"speed": [0] * 40}, {"kind": y, "angle": np.full((40, 2), np.inf)}):
        with pytest.raises(EdgetlError):
            tasks.add(x, **wrong)
    assert distance((tasks + tasks)["kind"], wanted + wanted) == 0.0
