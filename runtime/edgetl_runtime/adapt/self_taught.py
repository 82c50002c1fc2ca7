"""Directions that the device's own unlabelled data uses: principal components learnt on the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.maps import FeatureMap
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.statistics import Moments

__all__ = ["adapt", "device_basis"]

Array = NDArray[np.float64]


def adapt(situation: Situation, energy: float = 0.99, strength: float = 200.0) -> Adapted:
    """x -> m + P (x - m), P the projection on the directions that hold `energy` of the variance.

    For: noise in directions that neither domain uses, few labels. Harms: little, gains little. The covariance
    is the device's, with the source's counting as `strength` samples. O(N D^2 + D^3), memory 3 D^2. Raina et
    al. 2007 (self-taught learning).
    """
    target, source = situation.moments(), situation.source.moments
    blend = Moments.zero(situation.source.dim)
    for moments, weight in ((target, 1.0), (source, strength / max(source.count, 1e-300))):
        blend.count += weight * moments.count
        blend.sum += weight * moments.sum
        blend.gram += weight * moments.gram
    basis = device_basis(blend, situation.source.shift, energy)
    moved = FeatureMap(basis.before, basis.matrix @ basis.matrix.T, basis.before)
    evidence = {"samples": float(len(situation.rows)), "directions": float(basis.matrix.shape[1])}
    return Adapted("self_taught", adapted_head(situation.refitted(moved), moved), evidence)


def device_basis(
    unlabelled: Moments, shift: Array, energy: float = 0.95, most: int = 256, power: float = 0.0
) -> FeatureMap:
    """Features (N, D) to the R <= `most` principal components that hold `energy` of the variance of the moments.

    For a new task on the device: statistics and heads of R features are (D / R)^2 smaller. `power` -0.5 whitens
    them; then every direction counts alike, those too that are noise, and few labels learn far worse (see
    benchmarks/adapt_bench.py), so it is off. `shift` (D) is what the moments are about. O(D^3).
    """
    values, vectors = np.linalg.eigh(unlabelled.covariance())
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    whole = float(values.sum())
    count = 1 if not whole > 0 else int(np.searchsorted(np.cumsum(values) / whole, energy)) + 1
    # No more directions than the samples can span.
    count = max(1, min(count, most, len(values), int(max(1.0, unlabelled.count - 1.0))))
    scale = np.maximum(values[:count], 1e-12 * max(float(values[0]), 1e-300)) ** power
    mean = shift + unlabelled.sum / max(unlabelled.count, 1e-300)
    return FeatureMap(mean, np.ascontiguousarray(vectors[:, :count] * scale), np.zeros(count))
