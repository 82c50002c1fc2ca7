"""In a head that is refitted from stored samples, few learnt ones are not drowned by those of the source."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.heads import fit_head
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

ROWS = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float16).astype(np.float32)
LABELS = ["a", "b"] * 12
SOURCE = 20


def reservoir(times: int = 1, of_source: bool = True) -> Reservoir:
    """20 samples of the source and, each so many times, 4 that were learnt."""
    store = Reservoir(5, 10_000, same=1.1)
    numbers = [-1 - i if of_source else 100 + i for i in range(SOURCE)]
    store.add(ROWS[:SOURCE], LABELS[:SOURCE], np.random.default_rng(0), numbers)
    rows, labels = np.repeat(ROWS[SOURCE:], times, axis=0), np.repeat(LABELS[SOURCE:], times).tolist()
    store.add(rows, labels, np.random.default_rng(0), range(len(rows)))
    return store


def softmax(store: Reservoir, strength: float = 1.0, **options: object) -> np.ndarray:
    options = {"standardise": False, "balanced": False, "tolerance": 1e-8, **options}
    return fit_head("softmax", Statistics(5), reservoir=store, strength=strength, **options).decision(ROWS)


def test_a_weight_counts_like_as_many_samples() -> None:
    # 20 + 3 x 4 samples, the weights of which add up to 24.
    assert np.allclose(softmax(reservoir(), weight=3.0), softmax(reservoir(3), 24 / 32, weight=1.0), atol=1e-5)


def test_both_sides_count_alike_unless_it_is_said() -> None:
    assert np.array_equal(softmax(reservoir()), softmax(reservoir(), weight=5.0))
    assert not np.allclose(softmax(reservoir()), softmax(reservoir(), weight=1.0))
    # What has no source is all alike.
    assert np.array_equal(softmax(reservoir(of_source=False)), softmax(reservoir(of_source=False), weight=1.0))


@pytest.mark.parametrize("head", ["softmax", "mlp"])
def test_what_was_learnt_decides_where_the_source_says_otherwise(head: str) -> None:
    store = Reservoir(5, 10_000, same=1.1)
    here = np.ones((40, 5)) + 0.1 * np.random.default_rng(1).normal(size=(40, 5))
    away = -here
    store.add(np.concatenate([here, away]), ["a"] * 40 + ["b"] * 40, np.random.default_rng(0), range(-80, 0))
    store.add(here[:6] + 0.05, ["b"] * 6, np.random.default_rng(0), range(6))
    drowned = fit_head(head, Statistics(5), reservoir=store, weight=1.0).predict_proba(here + 0.05)[:, 1].mean()
    heard = fit_head(head, Statistics(5), reservoir=store).predict_proba(here + 0.05)[:, 1].mean()
    assert heard > 0.3 > 0.2 > drowned


def test_a_weight_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="weight must be positive"):
        softmax(reservoir(), weight=0.0)
