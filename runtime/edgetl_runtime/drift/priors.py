"""How often each class comes in a domain without labels, if nothing but that has changed."""

from __future__ import annotations

from typing import Optional

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimated_priors", "estimated_ratios", "reweighted"]

Array = NDArray[np.float64]


def estimated_priors(
    source: Array, probabilities: Array, strength: float = 0.0, rounds: int = 200, start: Optional[Array] = None
) -> Array:
    """Class frequencies (K) by maximum likelihood from calibrated probabilities (N, K): EM of Saerens et al. 2002.

    `source` (K) is the mean of the calibrated probabilities over source samples, not the frequency of the
    labels: with those, a head that is sure of the wrong class is followed off a cliff. `strength` samples at
    the source's frequencies damp it. The likelihood is concave, so the start does not matter. O(N K) a round.
    """
    total = len(probabilities) + strength
    safe = np.maximum(source, 1e-12)
    priors = safe / safe.sum() if start is None else start
    if total <= 0:
        return priors
    for _ in range(rounds):
        shares = probabilities * (priors / safe)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
        updated = (shares.sum(axis=0) + strength * source) / total
        moved = float(np.abs(updated - priors).max())
        priors = updated
        if moved < 1e-7:
            break
    return np.asarray(priors)


def estimated_ratios(confusion: Array, predicted: Array, smoothing: float = 1e-3) -> Array:
    """Ratios q / p (K) of the class frequencies, black box (Lipton et al. 2018, BBSE).

    `confusion` (K, K) is P(predicted i, true j) on labelled source samples, `predicted` (K) the frequencies of
    the predictions on the target. Solved with a little ridge, as rare classes make it singular; never negative.
    O(K^3).
    """
    k = len(predicted)
    scale = smoothing * float(np.trace(confusion)) / max(1, k)
    gram = confusion.T @ confusion + scale**2 * np.eye(k)
    # Drawn towards no shift where the confusion says nothing.
    ratios = np.linalg.solve(gram, confusion.T @ predicted + scale**2 * np.ones(k))
    return np.asarray(np.maximum(ratios, 0.0))


def reweighted(probabilities: Array, ratios: Array) -> Array:
    """Probabilities (N, K) after the class frequencies changed by `ratios` (K)."""
    shares = probabilities * ratios
    result: Array = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    return result
