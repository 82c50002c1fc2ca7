"""T3A: the classifier's rows and the surest samples of each class, averaged. A reference method."""

from __future__ import annotations

import numpy as np

from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.heads.linear import LinearHead

__all__ = ["adapt"]


def adapt(situation: Situation, keep: int = 20) -> Adapted:
    """Weights are means of unit vectors: the head's own row and the `keep` least entropic samples of each class.

    For: mild covariate shift; weak, kept to compare with. Harms: heads whose rows are no directions of their
    classes, as those of a discriminant in correlated features. Linear heads only. O(N K D), memory K `keep` D.
    Iwasawa and Matsuo 2021.
    """
    head = situation.refitted()
    if not isinstance(head, LinearHead):
        raise ValueError(f"T3A needs a linear head; this one is {head.name!r}")
    rows = situation.rows - head.shift
    decision = head.decision(situation.rows)
    probabilities = head.predict_proba(situation.rows)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1)
    codes = decision.argmax(axis=1)
    weights = np.empty_like(head.weights)
    for k, row in enumerate(head.weights):
        members = np.flatnonzero(codes == k)
        members = members[np.argsort(entropy[members], kind="stable")[:keep]]
        support = np.concatenate([row[None], rows[members]])
        support = support / np.maximum(np.sqrt((support**2).sum(axis=1, keepdims=True)), 1e-300)
        weights[k] = support.mean(axis=0)
    adapted = LinearHead(
        "t3a", head.classes, head.feature_space, weights, np.zeros(len(weights)), head.shift, head.counts
    )
    return Adapted("t3a", adapted_head(adapted), {"samples": float(len(rows))})
