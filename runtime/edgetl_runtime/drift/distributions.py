"""Tails of the distributions that the tests need, which NumPy lacks; each agrees with SciPy to 1e-12."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["binomial_sf", "chi_square_sf", "f_sf", "kolmogorov_sf", "ks_exact_sf"]

_TINY = 1e-300
_STEPS = 10000


def chi_square_sf(value: float, degrees: float) -> float:
    """P(X >= value) of a chi-square variable with `degrees` of freedom."""
    if value <= 0:
        return 1.0
    a, x = degrees / 2.0, value / 2.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        for step in range(1, _STEPS):
            term *= x / (a + step)
            total += term
            if term < total * 1e-17:
                break
        return max(0.0, 1.0 - scale * total)
    # Continued fraction of the upper incomplete gamma function, by Lentz.
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    result = d
    for step in range(1, _STEPS):
        factor = -step * (step - a)
        b += 2.0
        d = 1.0 / (_away_from_zero(factor * d + b))
        c = _away_from_zero(b + factor / c)
        result *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return scale * result


def f_sf(value: float, above: float, below: float) -> float:
    """P(X >= value) of an F variable with `above` and `below` degrees of freedom."""
    if value <= 0:
        return 1.0
    return _incomplete_beta(below / 2.0, above / 2.0, below / (below + above * value))


def binomial_sf(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) of a binomial variable."""
    if successes <= 0:
        return 1.0
    if successes > trials or chance <= 0:
        return 0.0
    return _incomplete_beta(float(successes), float(trials - successes + 1), chance)


def kolmogorov_sf(value: float) -> float:
    """P(K >= value) of Kolmogorov's limit of sqrt(n) sup |F_n - F|."""
    if value <= 0.04:  # where the tail differs from 1 by less than 1e-300
        return 1.0
    if value < 1.0:
        head = sum(math.exp(-(((2 * k - 1) * math.pi / value) ** 2) / 8.0) for k in range(1, 6))
        return 1.0 - math.sqrt(2.0 * math.pi) / value * head
    return 2.0 * sum((-1.0) ** (k - 1) * math.exp(-2.0 * (k * value) ** 2) for k in range(1, 20))


def ks_exact_sf(statistic: float, first: int, second: int) -> float:
    """P(D >= statistic) of the two-sample Kolmogorov-Smirnov statistic under equality, without ties.

    Counts lattice paths that stay inside the band (Hodges 1957) with one cumulative sum a row, so
    O(first x second) additions in min(first, second) NumPy calls. Absolute error about 1e-13.
    """
    m, n = sorted((int(first), int(second)))
    common = math.gcd(m, n)
    up, along = n // common, m // common  # |i / m - j / n| in units of 1 / lcm(m, n)
    band = round(statistic * m * up)
    if band <= 0:
        return 1.0
    places = np.arange(n + 1, dtype=np.int64) * along
    # Probabilities and not counts, which overflow: row i weighs i / (i + n).
    inside = np.where(places < band, 1.0, 0.0)
    for i in range(1, m + 1):
        low = max(0, -(-(i * up - band + 1) // along))  # the least j with i * up - j * along < band
        inside[:low] = 0.0
        inside = np.cumsum(inside * (i / (i + n)))
        inside[(i * up + band - 1) // along + 1 :] = 0.0
    return float(min(1.0, max(0.0, 1.0 - inside[n])))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    result = d
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1.0) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1.0))
        for factor in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + factor * d)
            c = _away_from_zero(1.0 + factor / c)
            result *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return result


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY

