"""The oracle beside a build: the same head, fitted on the held-out samples too. No split of the data can do better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import HEADS, TargetHead

from edgetl.extraction import ExtractedPart

__all__ = ["Oracle", "oracle_of"]


@dataclass(frozen=True)
class Oracle:
    """`accuracy`, the share of held-out samples that it gets right, or the root mean square error `rmse` (Q) of each
    number; None and () where there is none: nothing held out, or a head that is refitted from stored samples."""

    accuracy: float | None = None
    rmse: tuple[float, ...] = ()


def oracle_of(
    fit: Callable[[str, ExtractedPart, ExtractedPart], HeadMember],
    head: str,
    training: ExtractedPart,
    held_out: ExtractedPart,
    classes: tuple[str, ...],
) -> Oracle:
    """Fit it as `fit` does the factory head (of a feature space and two parts), and judge it."""
    known = [row for row, label in enumerate(held_out.labels) if label in classes or not classes]
    if not known or not HEADS[head].exact:
        return Oracle()
    features = np.concatenate([training.features, held_out.features])
    whole = ExtractedPart(features, [*training.labels, *held_out.labels], [], [], 0)
    fitted = fit("", whole, ExtractedPart(features[:0], [], [], [], 0)).factory
    if isinstance(fitted, TargetHead):
        said = fitted.decision(held_out.features)
        return Oracle(rmse=tuple(np.sqrt(np.mean((said - held_out.targets(said.shape[1])) ** 2, axis=0)).tolist()))
    answers = zip(known, fitted.predict(held_out.features[known]), strict=True)
    return Oracle(float(np.mean([held_out.labels[row] == str(said) for row, said in answers])))
