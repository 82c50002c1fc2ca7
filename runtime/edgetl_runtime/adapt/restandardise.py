"""Each feature gets back the mean and spread that it had in the source."""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.maps import FeatureMap, domain_moments, restandardising_map
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.drift.priors import estimated_priors
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.types import Label

__all__ = ["adapt", "aligned", "priors_behind"]

Array = NDArray[np.float64]


def adapt(situation: Situation, strength: float = 20.0, priors: str = "source", rounds: int = 3) -> Adapted:
    """z = (x - m_t) / s_t * s_s + m_s with the target's own mean and spread, drawn to the source's.

    For: covariate shift that moves or stretches single features (gain, offset, another speaker, a turned
    axis). Harms: label shift, where other class frequencies move the means although nothing else changed.
    `priors="estimated"` compares with the source as it would be at the frequencies that the head sees behind
    the map, in `rounds` turns: safe under label shift, but it believes a head that is wrong. O(N D) and
    O(N K D) a turn; memory D. Li et al. 2017 (AdaBN).
    """
    head, moved = aligned(situation, strength, priors, rounds)
    return Adapted("restandardise", adapted_head(head, moved), {"samples": float(len(situation.rows))})


def aligned(
    situation: Situation, strength: float = 20.0, priors: str = "source", rounds: int = 3
) -> Tuple[Head, FeatureMap]:
    """The map, and the head that reads what went through it."""
    target = situation.moments()
    source = domain_moments(situation.source)
    moved = restandardising_map(source, target, situation.source.shift, strength)
    head = situation.refitted(moved)
    for _ in range(rounds if priors == "estimated" else 0):
        source = domain_moments(situation.source, priors_behind(situation, head, moved))
        moved = restandardising_map(source, target, situation.source.shift, strength)
        head = situation.refitted(moved)
    return head, moved


def priors_behind(situation: Situation, head: Head, map: FeatureMap) -> Dict[Label, float]:
    """Class frequencies of the unlabelled rows, as the head sees them behind the map."""
    probabilities = head.predict_proba(map.apply(situation.rows))
    source = situation.source_priors()
    found = estimated_priors(source, probabilities, strength=float(len(source)))
    return dict(zip(head.classes, (float(share) for share in found)))
