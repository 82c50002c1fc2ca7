"""Reservoirs are bounded, fair, and never share a sample."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgetl_runtime.errors import LabelError, SampleError, StatisticsError
from edgetl_runtime.reservoir import Reservoir, ReservoirPair, nearest_rows


def rng(seed=0):
    return np.random.default_rng(seed)


def test_bytes_are_capped_and_classes_balanced():
    store = Reservoir(8, 60 * 16)
    labels = ["common"] * 500 + ["rare"] * 12 + ["other"] * 88
    order = rng(1).permutation(600)
    store.add(rng().normal(size=(600, 8)), [labels[i] for i in order], rng(2))
    assert len(store) == 60 and store.state()["features"].nbytes == 60 * 16
    held = {name: int((store.labels == name).sum()) for name in ("common", "rare", "other")}
    assert held == {"common": 24, "rare": 12, "other": 24}
    assert store.seen == {"common": 500, "other": 88, "rare": 12}


@pytest.mark.parametrize("balanced", [False, True])
def test_every_sample_has_the_chance_that_is_written_down(balanced):
    # 40 samples of one class early, 20 of another late; 10 places; 600 draws.
    kept, draws = np.zeros(60), 600
    rows, labels = rng().normal(size=(60, 4)), [0] * 40 + [1] * 20
    for seed in range(draws):
        store = Reservoir(4, 10 * 8, balanced=balanced, same=1.1)
        store.add(rows, labels, rng(seed))
        kept[list(store.numbers)] += 1
    share = kept / draws
    wanted = np.where(np.array(labels) == 0, 5 / 40, 5 / 20) if balanced else np.full(60, 10 / 60)
    # Five standard errors of a share; balanced, a class may hold one more or less than its half.
    assert np.abs(share - wanted).max() < 5 * np.sqrt(0.25 * 0.75 / draws) + (0.01 if balanced else 0.0)
    probabilities = dict(zip(store.numbers, store.probabilities))
    assert all(abs(p - wanted[number]) < 0.06 for number, p in probabilities.items())


def test_near_duplicates_are_refused_and_do_not_count():
    store, row = Reservoir(4, 800), rng().normal(size=(1, 4))
    assert store.add(row, ["a"], rng()).tolist() == [True]
    assert store.add(row * 1.0000001, ["a"], rng()).tolist() == [False]
    assert store.add(row, ["b"], rng()).tolist() == [True]
    assert store.seen == {"a": 1, "b": 1}


def test_nearest_samples_come_first_with_their_numbers():
    store = Reservoir(2, 400)
    store.add([[1, 0], [0, 1], [1, 1]], ["x", "y", "z"], rng(), numbers=[10, 20, 30])
    near = store.nearest([[1.0, 0.1]], 2)
    assert [(n.number, n.label) for n in near] == [(10, "x"), (30, "z")]
    assert near[0].cosine == pytest.approx(1 / np.sqrt(1.01), abs=1e-3)


def test_what_is_forgotten_is_gone():
    store = Reservoir(3, 600)
    store.add(rng().normal(size=(5, 3)), list("abcde"), rng())
    assert store.forget([1, 3, 99]) == 2
    assert store.labels.tolist() == ["a", "c", "e"] and store.numbers == (0, 2, 4)


def test_saved_half_way_it_goes_on_bit_for_bit():
    rows, labels = rng().normal(size=(300, 4)), (rng(1).integers(0, 5, 300)).tolist()
    store, generator = Reservoir(4, 40 * 8), rng(3)
    store.add(rows[:150], labels[:150], generator)
    again = Reservoir.from_state(store.state(), json.loads(json.dumps(store.metadata())))
    other = rng()
    other.bit_generator.state = generator.bit_generator.state
    store.add(rows[150:], labels[150:], generator, numbers=range(150, 300))
    again.add(rows[150:], labels[150:], other, numbers=range(150, 300))
    assert again.numbers == store.numbers
    assert np.array_equal(again.features, store.features)


def test_a_spoilt_state_is_refused():
    store = Reservoir(3, 60)
    store.add(rng().normal(size=(5, 3)), [0, 1, 2, 0, 1], rng())
    arrays, metadata = store.state(), store.metadata()
    for change in (
        {"features": arrays["features"].astype(np.float32)},
        {"features": arrays["features"] * np.float16(np.nan)},
        {"classes": arrays["classes"] + 3},
        {"numbers": arrays["numbers"] * 0},
        {"numbers": arrays["numbers"][:2]},
    ):
        with pytest.raises(StatisticsError):
            Reservoir.from_state({**arrays, **change}, metadata)
    for change in ({"format": 9}, {"capacity": 2}, {"dim": 4}, {"seen": []}):
        with pytest.raises(StatisticsError):
            Reservoir.from_state(arrays, {**metadata, **change})


def test_bad_samples_are_refused_whole():
    store = Reservoir(3, 60)
    with pytest.raises(SampleError):
        store.add([[1.0, np.nan, 0.0]], ["a"], rng())
    with pytest.raises(LabelError):
        store.add(np.ones((2, 3)), ["a", ""], rng())
    assert len(store) == 0


def test_large_features_stay_finite():
    store = Reservoir(2, 40)
    store.add([[1e6, -1e9]], ["a"], rng())
    assert np.isfinite(store.features).all()


def test_no_sample_trains_and_judges():
    rows = rng().normal(size=(400, 6))
    rows[200:] = rows[:200]
    pair = ReservoirPair(Reservoir(6, 10**5), Reservoir(6, 10**5, balanced=False), judge_share=0.3)
    judged = pair.add(rows, (np.arange(400) % 4).tolist(), rng())
    assert 0.2 < judged.mean() < 0.4
    assert len(pair.train) + len(pair.judge) == 200
    train = {row.tobytes() for row in pair.train.features}
    assert not any(row.tobytes() in train for row in pair.judge.features)


def test_the_nearest_of_all_rows_are_found_however_they_pass_by():
    rows, labels = rng().normal(size=(50, 6)).astype(np.float32), [f"class {i % 3}" for i in range(50)]
    shift = rows.mean(axis=0)
    wanted = nearest_rows(rows[17] + 0.01, [(range(50), labels, rows)], shift, 4)
    about, one = rows - shift, rows[17] + 0.01 - shift
    cosines = about @ one / np.linalg.norm(about, axis=1) / np.linalg.norm(one)
    order = np.argsort(-cosines)[:4]
    assert [(n.number, n.label) for n in wanted] == [(i, labels[i]) for i in order] and order[0] == 17
    assert np.allclose([n.cosine for n in wanted], cosines[order], atol=1e-6)
    blocks = [(range(a, a + 10), labels[a : a + 10], rows[a : a + 10]) for a in range(0, 50, 10)]
    assert nearest_rows(rows[17] + 0.01, reversed(blocks), shift, 4) == wanted
    assert nearest_rows(rows[0], [], shift) == ()
