"""Other class frequencies, nothing else: the probabilities are corrected for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt.adapted_head import adapted_head
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.drift.priors import estimated_priors, estimated_ratios

__all__ = ["adapt"]

Array = NDArray[np.float64]


def adapt(situation: Situation, estimator: str = "em", strength: float = 0.0, floor: float = 1e-3) -> Adapted:
    """Adds T log(q_c / p_c) to the decision values, q being the class frequencies of the target.

    For: label shift, with calibrated probabilities. Harms: everything else; under covariate shift it follows
    the head's own mistakes off a cliff (heads.md: -28 points), so the diagnosis must say label shift and the
    guard agree. `estimator` "em" is the maximum likelihood of Saerens et al. 2002, "bbse" the black box of
    Lipton et al. 2018 on the confusion of the held-out source. No class is given less than `floor` of its
    source frequency. Needs a reference. O(N K) a round and O(K^3); memory K^2.
    """
    reference = situation.reference
    if reference is None or not len(reference.sight):
        raise ValueError("label shift is measured against held-out source samples: pass a reference")
    inner = situation.refitted()
    probabilities = inner.predict_proba(situation.rows)
    source = np.maximum(situation.source_priors(), 1e-12)
    if estimator == "em":
        ratios = estimated_priors(source, probabilities, strength) / source
    elif estimator == "bbse":
        k = len(source)
        confusion = np.zeros((k, k))
        known = reference.truth >= 0
        np.add.at(confusion, (reference.sight.codes[known], reference.truth[known]), 1.0 / max(1, int(known.sum())))
        predicted = np.bincount(probabilities.argmax(axis=1), minlength=k) / max(1, len(probabilities))
        ratios = estimated_ratios(confusion, predicted)
    else:
        raise ValueError(f"estimator must be 'em' or 'bbse'; got {estimator!r}")
    temperature = float(inner.metadata().get("temperature", 1.0))
    head = adapted_head(inner, offset=temperature * np.log(np.maximum(ratios, floor)))
    largest = float(np.abs(ratios * source - source).sum() / 2.0)
    return Adapted("label_shift", head, {"samples": float(len(probabilities)), "moved_share": largest})
