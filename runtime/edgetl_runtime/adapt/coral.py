"""Correlation alignment: the target's covariance becomes the source's."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.maps import FeatureMap, coral_map, domain_moments
from edgetl_runtime.adapt.restandardise import priors_behind
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.heads.protocol import Head

__all__ = ["adapt", "aligned"]

Array = NDArray[np.float64]


def adapt(
    situation: Situation,
    centred: bool = True,
    strength: Optional[float] = None,
    ridge: float = 0.01,
    priors: str = "source",
    rounds: int = 2,
) -> Adapted:
    """x -> (x - m_t) C_t^-1/2 C_s^1/2 + m_s from source statistics and the unlabelled rows alone.

    For: covariate shift that mixes or turns features. Harms: label shift (as restandardise does, with the
    same remedy `priors="estimated"`), and buffers that show a part of the classes. `centred=False` aligns the
    spread and leaves the mean: mild under label shift, useless where the mean moved. The target covariance is
    drawn to the source's with the weight of `strength` samples (None: 5 D), so that a small buffer maps almost
    nothing; both get `ridge` times their mean variance on the diagonal. O(N D^2 + D^3), memory 4 D^2.
    Sun et al. 2016.
    """
    head, moved = aligned(situation, centred, strength, ridge, priors, rounds)
    return Adapted("coral", adapted_head(head, moved), {"samples": float(len(situation.rows))})


def aligned(
    situation: Situation,
    centred: bool = True,
    strength: Optional[float] = None,
    ridge: float = 0.01,
    priors: str = "source",
    rounds: int = 2,
) -> Tuple[Head, FeatureMap]:
    """The map, and the head that reads what went through it."""
    moved = _map(situation, domain_moments(situation.source), centred, strength, ridge)
    head = situation.refitted(moved)
    for _ in range(rounds if priors == "estimated" else 0):
        source = domain_moments(situation.source, priors_behind(situation, head, moved))
        moved = _map(situation, source, centred, strength, ridge)
        head = situation.refitted(moved)
    return head, moved


def _map(
    situation: Situation, source: Tuple[Array, Array], centred: bool, strength: Optional[float], ridge: float
) -> FeatureMap:
    target, dim = situation.moments(), situation.source.dim
    mean, covariance = source
    weight = 5.0 * dim if strength is None else strength
    total = max(target.count + weight, 1e-300)
    here_mean = mean + target.count / (target.count + 20.0) * (
        situation.source.shift + target.sum / max(target.count, 1e-300) - mean
    )
    here = (target.count * target.covariance() + weight * covariance) / total
    diagonal = np.diag_indices(dim)
    there, here = covariance.copy(), here.copy()
    for matrix in (there, here):
        matrix[diagonal] += ridge * float(np.trace(covariance)) / dim
    return coral_map((mean, there), (here_mean, here), centred)
