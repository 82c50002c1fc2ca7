from __future__ import annotations

import numpy as np
import pytest

from edgetl.choosing.scores import h_score, leave_one_out, log_evidence


def _classes(n: int = 90, dim: int = 12, k: int = 3, apart: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    return (rng.normal(size=(n, dim)) + apart * rng.normal(size=(k, dim))[truth]).astype(np.float32), truth


def _evidence_by_search(rows: np.ndarray, y: np.ndarray) -> float:
    """The evidence of y ~ N(0, F F^T / alpha + I / beta), maximised by SciPy."""
    minimise = pytest.importorskip("scipy.optimize").minimize
    values, vectors = np.linalg.eigh(rows @ rows.T)
    turned = vectors.T @ y

    def loss(logs: np.ndarray) -> float:
        variance = np.maximum(values, 0) / np.exp(logs[0]) + 1 / np.exp(logs[1])
        return 0.5 * float((np.log(2 * np.pi * variance) + turned**2 / variance).sum())

    closely = {"maxiter": 4000, "xatol": 1e-9, "fatol": 1e-10}
    starts = ([0.0, 0.0], [4.0, 2.0], [-3.0, 3.0])
    return -min(minimise(loss, start, method="Nelder-Mead", options=closely).fun for start in starts) / len(y)


@pytest.mark.parametrize(("n", "dim"), [(90, 12), (30, 60)])
def test_log_evidence_is_the_greatest_marginal_likelihood(n: int, dim: int) -> None:
    features, truth = _classes(n, dim)
    rows = features.astype(np.float64)
    expected = np.mean([_evidence_by_search(rows, (truth == c).astype(float)) for c in range(3)])
    assert log_evidence(features, truth) == pytest.approx(expected, abs=2e-4)
    numbers = rows[:, :1] * 2 + np.random.default_rng(1).normal(size=(n, 1))
    assert log_evidence(features, numbers) == pytest.approx(_evidence_by_search(rows, numbers[:, 0]), abs=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_is_what_refitting_without_each_sample_gives(seed: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    features, truth = _classes(apart=0.5, seed=seed)
    from edgetl_runtime.heads import ridge
    from edgetl_runtime.statistics import Statistics

    statistics = Statistics(features.shape[1], features.mean(axis=0, dtype=np.float64))
    statistics.add(features, truth)
    both, counts = ridge.pooled(statistics, None, None), statistics.counts
    moments = both.moments
    chosen = ridge.solve(
        moments.gram, moments.sum, both.by_class.sums.T, both.counts, both.counts, moments.count, "gcv",
        effective=ridge.effective_count(statistics, None),
    )  # fmt: skip
    assert counts is not None
    right = 0
    for out in range(len(truth)):
        rest = np.delete(np.arange(len(truth)), out)
        model = linear.Ridge(alpha=chosen.penalty).fit(features[rest].astype(np.float64), np.eye(3)[truth[rest]])
        right += int(model.predict(features[[out]].astype(np.float64)).argmax() == truth[out])
    assert leave_one_out(features, truth) == pytest.approx(right / len(truth), abs=1e-12)


def test_h_score_is_the_trace_of_its_paper_where_nothing_is_shrunk() -> None:
    features, truth = _classes(20000, 6, apart=0.7)
    rows = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    means = np.stack([rows[truth == c].mean(axis=0) for c in range(3)])[truth]
    plain = np.trace(np.linalg.pinv(np.cov(rows.T, bias=True)) @ np.cov(means.T, bias=True))
    assert h_score(features, truth) == pytest.approx(plain, rel=2e-2)
    assert 0 < h_score(features, truth) <= 2


@pytest.mark.parametrize("score", [leave_one_out, h_score, log_evidence])
def test_every_score_rises_with_what_the_features_tell(score) -> None:
    found = [score(*_classes(300, 20, apart=apart)) for apart in (0.0, 0.4, 0.8, 2.0)]
    assert found == sorted(found) and found[0] < found[-1]


@pytest.mark.parametrize("score", [leave_one_out, h_score, log_evidence])
def test_features_that_never_change_tell_nothing_and_break_nothing(score) -> None:
    _, truth = _classes(30)
    assert np.isfinite(score(np.full((30, 8), 3.0, np.float32), truth))
