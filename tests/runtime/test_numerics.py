"""Linear algebra written here agrees with NumPy's and, where there is one, scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from edgetl_runtime import numerics


def positive(dim, seed=0, low=-3.0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return (q * np.logspace(0, low, dim)) @ q.T


@pytest.mark.parametrize("dim", [1, 5, 95, 96, 97, 250, 400])
def test_cholesky_solves_what_numpy_solves(dim):
    matrix, right = positive(dim), np.random.default_rng(1).normal(size=(dim, 3))
    factor = numerics.Cholesky(matrix)
    assert np.allclose(factor.solve(right), np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-9)
    half = factor.half_solve(right)
    assert np.allclose(half.T @ half, right.T @ np.linalg.solve(matrix, right), rtol=1e-9)
    assert np.isclose(factor.log_determinant(), np.linalg.slogdet(matrix)[1])


def test_cholesky_of_an_indefinite_matrix_fails_and_of_a_singular_one_is_jittered():
    with pytest.raises(np.linalg.LinAlgError):
        numerics.Cholesky(-np.eye(200))
    line = np.ones((150, 150))
    assert np.isfinite(numerics.positive_cholesky(line).solve(np.ones((150, 1)))).all()
    with pytest.raises(ValueError):
        numerics.positive_cholesky(-np.eye(3))


def test_packing_keeps_every_bit():
    matrix = positive(17)
    matrix = matrix + matrix.T
    assert np.array_equal(numerics.unpack_symmetric(numerics.pack_symmetric(matrix), 17), matrix)
    with pytest.raises(ValueError):
        numerics.unpack_symmetric(np.zeros(5), 3)


@pytest.mark.parametrize(("count", "dim"), [(20, 5), (200, 30), (10, 30), (7, 1)])
def test_shrinkage_is_scikit_learns(count, dim):
    covariance = pytest.importorskip("sklearn.covariance", reason="scikit-learn is the reference and is not installed")
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim))
    centred = x - x.mean(axis=0)
    ours = centred.T @ centred / count
    assert np.isclose(numerics.shrinkage_oas(ours, count), covariance.OAS().fit(x).shrinkage_, rtol=1e-8)
    quartic = float(((centred**2).sum(axis=1) ** 2).sum())
    amount = numerics.shrinkage_ledoit_wolf(ours, count, quartic)
    assert np.isclose(amount, covariance.LedoitWolf().fit(x).shrinkage_, rtol=1e-8, atol=1e-12)


def test_softmax_neither_overflows_nor_loses_small_probabilities():
    logits = np.array([[1e4, 0.0, -1e4], [0.0, np.log(2.0), -np.inf]])
    assert np.allclose(numerics.softmax(logits), [[1, 0, 0], [1 / 3, 2 / 3, 0]])
    assert numerics.softmax(np.zeros((4, 0))).shape == (4, 0)
    assert np.isclose(numerics.log_softmax(np.array([[0.0, -800.0]]))[0, 1], -800.0)
