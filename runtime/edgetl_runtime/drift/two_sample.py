"""Two-sample tests: are N new samples drawn like M reference ones? Pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.drift.distributions import chi_square_sf, f_sf, kolmogorov_sf, ks_exact_sf
from edgetl_runtime.numerics import positive_cholesky

__all__ = ["TestOutcome", "chi_square", "hotelling", "kolmogorov_smirnov", "mmd"]

Array = NDArray[np.float64]

# Up to here the exact tail costs less than sorting the samples does.
_EXACT_CELLS = 4_000_000


@dataclass(frozen=True)
class TestOutcome:
    """A test statistic and the chance of one as large or larger where nothing has changed."""

    statistic: float
    p_value: float

    # Not a test case, whatever its name begins with.
    __test__ = False


def chi_square(reference: Array, counts: Array, least: float = 0.0) -> TestOutcome:
    """Homogeneity of two rows of counts (K), Pearson, without continuity correction.

    Classes of which fewer than `least` are expected in the smaller row are pooled first, the rarest with the
    next, as the limit needs some five of each. O(K log K).
    """
    table = np.array([reference, counts], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] == 0 or (table.sum(axis=1) == 0).any():
        return TestOutcome(0.0, 1.0)
    share = float(table.sum(axis=1).min() / table.sum())
    if least > 0:
        table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
        while table.shape[1] > 1 and share * table[:, 0].sum() < least:
            table[:, 1] += table[:, 0]
            table = table[:, 1:]
            table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    if table.shape[1] < 2:
        return TestOutcome(0.0, 1.0)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return TestOutcome(statistic, chi_square_sf(statistic, table.shape[1] - 1))


def kolmogorov_smirnov(reference: Array, rows: Array, weights: Optional[Array] = None) -> TestOutcome:
    """The largest Kolmogorov-Smirnov distance over the columns of (M, D) and (N, D), with Bonferroni's p-value.

    Exact where M N is small, else the limit; with reference `weights` (M) the limit at their effective number.
    Rabanser et al. 2019 (Failing Loudly) run it on softmax outputs. O(D (M + N) log (M + N)).
    """
    m, n, dim = len(reference), len(rows), rows.shape[1]
    if m == 0 or n == 0 or dim == 0:
        return TestOutcome(0.0, 1.0)
    mass = np.full(m, 1.0 / m) if weights is None else weights / weights.sum()
    largest = 0.0
    for column in range(dim):
        order = np.argsort(reference[:, column], kind="stable")
        old, new = reference[order, column], np.sort(rows[:, column])
        steps = np.concatenate([[0.0], np.cumsum(mass[order])])
        places = np.concatenate([old, new])
        gap = steps[np.searchsorted(old, places, side="right")] - np.searchsorted(new, places, side="right") / n
        largest = max(largest, float(np.abs(gap).max()))
    if weights is None and m * n <= _EXACT_CELLS:
        single = ks_exact_sf(largest, m, n)
    else:
        effective = 1.0 / float((mass**2).sum())
        single = kolmogorov_sf(largest * np.sqrt(effective * n / (effective + n)))
    return TestOutcome(largest, min(1.0, dim * single))


def hotelling(reference: Array, rows: Array, weights: Optional[Array] = None) -> TestOutcome:
    """Hotelling's T^2 between the means of (M, D) and (N, D) in their pooled covariance; p from F.

    With reference `weights` (M), at their effective number. Needs M + N > D + 1. O((M + N) D^2 + D^3).
    """
    n, dim = rows.shape
    mass = np.full(len(reference), 1.0 / max(1, len(reference))) if weights is None else weights / weights.sum()
    m = 1.0 / float((mass**2).sum()) if len(mass) else 0.0
    freedom = m + n - dim - 1.0
    if n == 0 or dim == 0 or freedom <= 0:
        return TestOutcome(0.0, 1.0)
    old_mean, new_mean = mass @ reference, rows.mean(axis=0)
    old, new = (reference - old_mean) * np.sqrt(m * mass)[:, None], rows - new_mean
    pooled = (old.T @ old + new.T @ new) / (m + n - 2.0)
    if not np.trace(pooled) > 0:
        return TestOutcome(0.0, 1.0)
    gap = positive_cholesky(pooled).half_solve((new_mean - old_mean)[:, None])
    statistic = float((gap**2).sum()) * m * n / (m + n)
    return TestOutcome(statistic, f_sf(statistic * freedom / ((m + n - 2.0) * dim), float(dim), freedom))


def mmd(
    reference: Array, rows: Array, generator: np.random.Generator, permutations: int = 100, block: int = 1
) -> TestOutcome:
    """Maximum mean discrepancy (Gretton et al. 2012), unbiased, Gaussian kernel of the median distance.

    The p-value comes from `permutations`; rows that depend on their neighbours are permuted in blocks of
    `block`. O((M + N)^2 (D + permutations)): keep both at some 200.
    """
    m, n = len(reference), len(rows)
    if m < 2 or n < 2:
        return TestOutcome(0.0, 1.0)
    both = np.concatenate([reference, rows])
    squares = np.einsum("nd,nd->n", both, both)
    distances = np.maximum(squares[:, None] + squares[None] - 2.0 * both @ both.T, 0.0)
    width = float(np.median(distances[np.triu_indices(m + n, 1)]))
    kernel = np.exp(-distances / (width if width > 0 else 1.0))
    np.fill_diagonal(kernel, 0.0)
    # One sign vector a permutation: all discrepancies are then a single product with the kernel.
    starts = np.arange(0, m + n, max(1, block))
    parts = [np.arange(start, min(start + max(1, block), m + n)) for start in starts]
    member = np.zeros((permutations + 1, m + n))
    member[0, m:] = 1.0
    for turn in range(1, permutations + 1):
        order = np.concatenate([parts[place] for place in generator.permutation(len(parts))])
        member[turn, order[m:]] = 1.0
    towards = member @ kernel
    new = np.einsum("pn,pn->p", towards, member)
    across = towards.sum(axis=1) - new
    old = kernel.sum() - new - 2.0 * across
    values = new / (n * (n - 1.0)) + old / (m * (m - 1.0)) - 2.0 * across / (m * n)
    beaten = 1 + int((values[1:] >= values[0]).sum())
    return TestOutcome(float(values[0]), beaten / (permutations + 1.0))
