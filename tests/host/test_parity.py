"""The figures of parity are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime.errors import EdgetlError
from hypothesis import given
from hypothesis import strategies as st

from edgetl.errors import ParityError
from edgetl.parity import compare, decisions_agreed


def test_known_figures():
    parity = compare([[3.0, 4.0], [0.0, 8.0]], [[3.0, 4.0], [2.0, 8.0]])
    assert (parity.max_abs, parity.max_rel, parity.samples) == (2.0, 0.25, 2)
    assert parity.cosine_min == pytest.approx(8 / np.hypot(2, 8))


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 2**31))
def test_the_same_features_are_at_no_distance(n, d, seed):
    features = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    parity = compare(features, features.copy())
    assert (parity.max_abs, parity.max_rel, parity.cosine_min) == (0.0, 0.0, 1.0)


def test_a_dead_reference_hides_nothing():
    assert compare(np.zeros((2, 3)), np.zeros((2, 3))).max_rel == 0.0
    assert compare(np.zeros((2, 3)), np.full((2, 3), 1e-9)).max_rel == float("inf")
    assert compare(np.ones((1, 3)), np.zeros((1, 3))).cosine_min == 0.0


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.ones(3), np.ones(3)),
        (np.ones((0, 3)), np.ones((0, 3))),
        (np.ones((2, 3)), np.full((2, 3), np.nan)),
        (np.full((2, 3), np.inf), np.ones((2, 3))),
    ],
)
def test_what_has_no_figure_is_an_error(reference, candidate):
    with pytest.raises(ParityError) as caught:
        compare(reference, candidate)
    assert isinstance(caught.value, EdgetlError)


def test_agreement_is_a_share():
    assert decisions_agreed(["a", "b", "c", 4], ["a", "b", "d", 4]) == 0.75
    assert decisions_agreed(np.array(["a", "b"]), np.array(["a", "b"])) == 1.0
    for reference, candidate in ([], []), (["a"], ["a", "b"]):
        with pytest.raises(ParityError):
            decisions_agreed(reference, candidate)
