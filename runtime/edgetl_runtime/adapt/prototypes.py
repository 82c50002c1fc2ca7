"""Class means that follow the target without labels: soft-prototype EM with prior damping."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt import coral, restandardise
from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.heads.operands import operands
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.heads.slda import covariance_parts, posterior_means
from edgetl_runtime.numerics import positive_cholesky, softmax
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.types import Label

__all__ = ["adapt"]

Array = NDArray[np.float64]


def adapt(
    situation: Situation, n0: float = 20.0, rounds: int = 5, align: Optional[str] = "restandardise"
) -> Adapted:
    """m_c <- (sum_i p_ic x_i + n0 m_c) / (sum_i p_ic + n0), p from the shared covariance of the source.

    For: covariate shift that moves classes apart from each other, after the common part was taken off by
    `align` ("restandardise", "coral" or None). Harms: a head that is mostly wrong is made surer of it, and a
    class that is absent takes samples of others, which `n0` samples at the old mean damp. O(D^3 / 3) for the
    factorisation, O(N D^2) once, O(N K D) a round; memory D^2 + N D. Liang et al. 2020 (SHOT, its labelling
    step), with a prior.
    """
    if align not in (None, "restandardise", "coral"):
        raise ValueError(f"align must be None, 'restandardise' or 'coral'; got {align!r}")
    first, moved = situation.refitted(), None
    if align is not None:
        first, moved = (restandardise if align == "restandardise" else coral).aligned(situation)
    rows = situation.rows if moved is None else moved.apply(situation.rows)
    learnt = Statistics(situation.source.dim, situation.source.shift, situation.source.feature_space)
    learnt.add(situation.taught(moved), situation.labels)
    both = operands(learnt, situation.source)
    means, total = posterior_means(both, 5.0, 5.0)
    matrix, count, _ = covariance_parts(both, means, "oas", None)
    factor = positive_cholesky(matrix)
    centred = rows - both.shift
    whitened, old = count * factor.solve(centred.T), count * factor.solve(means.T)
    shares = _shares(first, both.classes, rows)
    temperature = float(first.metadata().get("temperature", 1.0))
    for _ in range(rounds):
        weight = shares.sum(axis=0) + n0
        now = (shares.T @ centred + n0 * means) / weight[:, None]
        weights = ((whitened @ shares + n0 * old) / weight).T
        bias = -0.5 * np.einsum("kd,kd->k", now, weights)
        shares = softmax((centred @ weights.T + bias) / temperature)
    head = LinearHead("slda", both.classes, both.feature_space, weights, bias, both.shift, total, temperature)
    return Adapted("prototypes", adapted_head(head, moved), {"samples": float(len(rows))})




def _shares(head: Head, classes: Tuple[Label, ...], rows: Array) -> Array:
    """Probabilities (N, K) by the head, zero for classes that it does not know."""
    places = {label: place for place, label in enumerate(classes)}
    result = np.zeros((len(rows), len(classes)))
    result[:, [places[label] for label in head.classes]] = head.predict_proba(rows)
    return result
