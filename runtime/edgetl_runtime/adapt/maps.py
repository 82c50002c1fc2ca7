"""Affine maps of features, by which a head made for one domain reads another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.statistics import Moments, Statistics, checked_features
from edgetl_runtime.types import Label

__all__ = ["FeatureMap", "coral_map", "domain_moments", "powered", "restandardising_map"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureMap:
    """x -> (x - before) A + after, from features (N, D) to (N, R).

    `matrix` A is (D, R), or (D) when every feature is only stretched, which costs O(D) a sample, not O(D R).
    """

    before: Array
    matrix: Array
    after: Array

    def apply(self, features: ArrayLike) -> Array:
        """Mapped features (N, R) float64."""
        rows = np.asarray(checked_features(features, len(self.before)), dtype=np.float64) - self.before
        result: Array = (rows * self.matrix if self.matrix.ndim == 1 else rows @ self.matrix) + self.after
        return result

    def state(self) -> Dict[str, Array]:
        """Its arrays by name."""
        return {"before": self.before, "matrix": self.matrix, "after": self.after}


def domain_moments(source: Statistics, priors: Optional[Dict[Label, float]] = None) -> Tuple[Array, Array]:
    """Mean (D) and covariance (D, D) of the source, as they would be at other class frequencies `priors`.

    Class means and the covariance within classes stay, so no source sample is needed.
    """
    if priors is None or not source.classes:
        moments = source.moments
        return source.shift + moments.sum / max(moments.count, 1e-300), moments.covariance()
    share = np.array([priors.get(label, 0.0) for label in source.classes], dtype=np.float64)
    share = share / share.sum() if share.sum() > 0 else source.counts / source.counts.sum()
    means = source.means()
    mean = share @ means
    spread = np.sqrt(share)[:, None] * (means - mean)
    return source.shift + mean, source.within_scatter() / source.count + spread.T @ spread


def restandardising_map(
    source: Tuple[Array, Array], target: Moments, shift: Array, strength: float = 20.0
) -> FeatureMap:
    """Gives each feature of the target (sums about `shift`) the mean and spread that it had in the source.

    Both are drawn towards the source's with the weight of `strength` samples. `source` is a mean (D) and a
    covariance (D, D) or variances (D).
    """
    mean, covariance = source
    before = covariance if covariance.ndim == 1 else np.diagonal(covariance)
    share = target.count / (target.count + strength) if target.count + strength > 0 else 0.0
    average = target.sum / max(target.count, 1e-300)
    variance = np.maximum(np.diagonal(target.gram) / max(target.count, 1e-300) - average**2, 0.0)
    now_mean = mean + share * (shift + average - mean)
    now = before + share * (variance - before)
    # A feature that never varied in the source says nothing of the target.
    floor = 1e-8 * float(before.max(initial=0.0))
    scale = np.where((before > floor) & (now > floor), np.sqrt(before / np.maximum(now, 1e-300)), 1.0)
    return FeatureMap(now_mean, scale, mean)


def coral_map(
    source: Tuple[Array, Array], target: Tuple[Array, Array], centred: bool = True, reverse: bool = False
) -> FeatureMap:
    """Correlation alignment of two domains, each a mean (D) and a positive definite covariance (D, D).

    x -> (x - m_t) C_t^-1/2 C_s^1/2 + m_s; not `centred`, the means are left where they are and only the
    spread about zero is mapped, as in skada. `reverse` maps the source to the target, to fit a head there.
    Sun et al. 2016. Two eigendecompositions, O(D^3), memory 4 D^2.
    """
    (there, wide), (here, narrow) = (target, source) if reverse else (source, target)
    matrix = powered(narrow, -0.5) @ powered(wide, 0.5)
    if centred:
        return FeatureMap(here, matrix, there)
    return FeatureMap(np.zeros_like(here), matrix, np.zeros_like(here))


def powered(matrix: Array, power: float) -> Array:
    """A power of a symmetric positive semi-definite matrix (D, D); directions without variance are left alone."""
    values, vectors = np.linalg.eigh(matrix)
    floor = 1e-10 * max(float(values[-1]), 1e-300)
    scaled = np.where(values > floor, np.maximum(values, floor) ** power, 0.0)
    result: Array = (vectors * scaled) @ vectors.T
    return result


