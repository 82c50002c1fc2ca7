from __future__ import annotations

import numpy as np
import pytest

from edgetl.demo.domains import CLASSES, SHOTS, source_of, target_of


def test_both_domains_are_the_real_and_whole_ones(domains):
    assert domains.source_frames.shape == (5000, 28, 28) and domains.source_frames.dtype == np.uint8
    assert domains.target_frames.shape == (1797, 8, 8) and domains.target_frames.dtype == np.uint8
    assert np.bincount(domains.source_labels).tolist() == [500] * 10
    assert np.bincount(domains.target_labels).sum() == 1797
    from sklearn.datasets import load_digits

    np.testing.assert_allclose(domains.target_frames, load_digits().images * 255 / 16, atol=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_halves_of_the_new_domain_share_no_sample_and_miss_none(domains, seed):
    target = target_of(domains, seed)

    def rows(frames, labels):
        return sorted((int(label), frame.tobytes()) for frame, label in zip(frames, labels, strict=True))

    both = rows(target.pool_frames, target.pool_labels) + rows(target.test_frames, target.test_labels)
    assert sorted(both) == rows(domains.target_frames, domains.target_labels)
    pool, test = np.bincount(target.pool_labels), np.bincount(target.test_labels)
    assert ((test - pool >= 0) & (test - pool <= 1)).all()


@pytest.mark.parametrize("seed", range(5))
def test_every_stage_brings_as_many_labels_of_each_class(domains, seed):
    target = target_of(domains, seed)
    assert len(set(target.order.tolist())) == len(target.order) == max(SHOTS) * len(CLASSES)
    for count in SHOTS:
        assert np.bincount(target.pool_labels[target.shots(count)]).tolist() == [count] * len(CLASSES)


def test_seeds_repeat_themselves_and_differ_from_each_other(domains):
    first, again, other = target_of(domains, 0), target_of(domains, 0), target_of(domains, 1)
    np.testing.assert_array_equal(first.order, again.order)
    np.testing.assert_array_equal(first.test_frames, again.test_frames)
    assert not np.array_equal(first.test_frames, other.test_frames)
    assert source_of(domains, 0).held_out.indices != source_of(domains, 1).held_out.indices
    assert source_of(domains, 0).held_out.counts == dict.fromkeys(CLASSES, 100)
