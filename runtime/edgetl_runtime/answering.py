"""What a head says of one sample, and what it is told, in the names that the manifest gives to classes and outputs."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

import numpy as np
from numpy.typing import ArrayLike

from edgetl_runtime.errors import LabelError
from edgetl_runtime.heads import TargetHead
from edgetl_runtime.labels import plain_text, targets_text
from edgetl_runtime.learner import Fitted
from edgetl_runtime.types import Output

__all__ = ["said_of", "stored_truths"]


def said_of(fitted: Fitted, features: ArrayLike, outputs: Sequence[Output]) -> Dict[str, Any]:
    """The fields of a Prediction that a head gives for one sample (1, D)."""
    head, outlier = fitted.head, float(fitted.outlier(features)[0])
    if isinstance(head, TargetHead):
        values = dict(zip([output.name for output in outputs], head.decision(features)[0].tolist()))
        for output in outputs:
            low = -math.inf if output.low is None else output.low
            high = math.inf if output.high is None else output.high
            values[output.name] = min(max(values[output.name], low), high)
        deviations = dict(zip(values, head.deviation(features)[0].tolist()))
        return {"label": None, "probabilities": {}, "outlier": outlier, "values": values, "deviations": deviations}
    probabilities = head.predict_proba(features)[0]
    return {
        "label": head.classes[int(np.argmax(probabilities))],
        "probabilities": {label: float(p) for label, p in zip(head.classes, probabilities)},
        "outlier": outlier,
    }


def stored_truths(
    labels: Optional[Iterable[str]],
    targets: Optional[Iterable[Mapping[str, float]]],
    count: int,
    outputs: Sequence[Output],
) -> List[str]:
    """Labels in the spelling in which `count` samples are stored, or the texts of their targets; raises LabelError."""
    given, other = (targets, labels) if outputs else (labels, targets)
    wanted = f"targets, {{{', '.join(output.name for output in outputs)}}}" if outputs else "a label"
    if other is not None:
        raise LabelError(f"this head learns from samples with {wanted} each; got {'labels' if outputs else 'targets'}")
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise LabelError(f"this head learns from samples with {wanted} each, in a list; got {type(given).__name__}")
    texts = [_checked(one, outputs) if outputs else plain_text(one) for one in given]
    if len(texts) != count:
        raise LabelError(f"{count} samples and {len(texts)} of {wanted}; one a sample is needed")
    return texts


def _checked(targets: Any, outputs: Sequence[Output]) -> str:
    names = [output.name for output in outputs]
    if not isinstance(targets, Mapping) or set(targets) != set(names):
        got = sorted(map(str, targets))[:20] if isinstance(targets, Mapping) else type(targets).__name__
        raise LabelError(f"targets must name exactly {names}; got {got}")
    values = []
    for output in outputs:
        try:
            value = float(targets[output.name])
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        low = -math.inf if output.low is None else output.low
        high = math.inf if output.high is None else output.high
        if not (math.isfinite(value) and low <= value <= high):
            raise LabelError(
                f"{output.name} must be a number from {low:g} to {high:g}; got {str(targets[output.name])[:40]!r}"
            )
        values.append(value)
    return targets_text(values)
