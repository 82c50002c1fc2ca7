"""The head's own surest answers as labels, where two heads agree."""

from __future__ import annotations

from typing import Optional

import numpy as np

from edgetl_runtime.adapt import coral, prototypes, restandardise
from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.heads.table import fit_head
from edgetl_runtime.statistics import Statistics

__all__ = ["adapt"]


def adapt(
    situation: Situation, confidence: float = 0.8, share: float = 0.5, align: Optional[str] = "restandardise"
) -> Adapted:
    """Learns the samples on which two heads agree with `confidence`, at most the surest `share` of each class.

    The two are the head behind the alignment, and the prototypes that follow from the buffer. For: covariate
    shift under which the head is still mostly right, and more so where it is sure. Harms: where it is sure and
    wrong; agreement bounds that, the guard decides. O(N D^2 + D^3), memory D^2 + N D. Lee 2013 (pseudo-labels).
    """
    first, moved = situation.refitted(), None
    if align is not None:
        first, moved = (restandardise if align == "restandardise" else coral).aligned(situation)
    rows = situation.rows if moved is None else moved.apply(situation.rows)
    second = prototypes.adapt(situation, align=align).head.predict_proba(situation.rows)
    one = first.predict_proba(rows)
    codes = one.argmax(axis=1)
    sure = np.minimum(one.max(axis=1), second.max(axis=1))
    agree = (codes == second.argmax(axis=1)) & (sure >= confidence)
    chosen = np.zeros(len(rows), dtype=np.bool_)
    for k in np.unique(codes):
        members = np.flatnonzero(agree & (codes == k))
        most = int(np.ceil(share * (codes == k).sum()))
        chosen[members[np.argsort(-sure[members], kind="stable")[:most]]] = True
    taught = np.concatenate([situation.taught(moved), rows[chosen]])
    labels = [*situation.labels, *(first.classes[k] for k in codes[chosen])]
    if situation.fit is not None:
        head = situation.fit(taught, labels)
    else:
        learnt = Statistics(situation.source.dim, situation.source.shift, situation.source.feature_space)
        learnt.add(taught, labels)
        head = fit_head("slda", learnt, prior=situation.source)
    evidence = {"samples": float(len(rows)), "taken": float(chosen.sum())}
    return Adapted("self_training", adapted_head(head, moved), evidence)
