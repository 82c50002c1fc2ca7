"""Evidence of numbers: moments of a drive count, not its frames, and nonsense does not."""

from __future__ import annotations

import numpy as np
from edgetl_runtime.guard import NumberEvidence
from edgetl_runtime.statistics import Statistics

D = 16


def source() -> Statistics:
    result = Statistics(D, shift=np.full(D, 2.0))
    rows = np.random.default_rng(0).normal(size=(400, D)) * np.linspace(0.1, 3.0, D) + 2.0
    result.add(rows, targets=rows[:, :1])
    return result


def scaled(rows: np.ndarray) -> np.ndarray:
    return rows * np.linspace(0.1, 3.0, D) + 2.0


def test_neighbouring_frames_count_once_in_any_order():
    rng = np.random.default_rng(1)
    moments = rng.normal(size=(20, D))
    frames = np.repeat(moments, 10, axis=0) + 0.1 * rng.normal(size=(200, D))
    for order in (np.arange(200), rng.permutation(200)):
        counted = NumberEvidence(source()).add(scaled(frames[order]))
        assert counted.sum() <= 20
        assert len(set((order[counted > 0] // 10).tolist())) == counted.sum() >= 15


def test_samples_that_have_nothing_to_do_with_each_other_count():
    counted = NumberEvidence(source()).add(scaled(np.random.default_rng(2).normal(size=(200, D))))
    assert counted.mean() > 0.6


def test_a_place_that_is_seen_again_later_counts_again():
    evidence = NumberEvidence(source())
    here = scaled(np.zeros((1, D)))
    assert evidence.add(np.repeat(here, 256, axis=0)).sum() == 1
    assert evidence.add(here)[0] == 1.0
    assert evidence.add(here)[0] == 0.0


def test_a_new_domain_counts_and_nonsense_does_not():
    rng = np.random.default_rng(3)
    assert NumberEvidence(source()).add(scaled(rng.normal(size=(100, D)) + 1.0)).mean() > 0.6
    assert NumberEvidence(source()).add(scaled(3.0 * rng.normal(size=(100, D)))).mean() < 0.1


def test_the_same_calls_in_parts_count_the_same():
    rows = scaled(np.random.default_rng(4).normal(size=(300, D)) * 0.6)
    parts = NumberEvidence(source())
    assert np.array_equal(np.concatenate([parts.add(part) for part in np.split(rows, 30)]),
                          NumberEvidence(source()).add(rows))  # fmt: skip
