"""The samples that a bundle carries to be judged by: golden ones for engines, and the guard set for heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet
from edgetl_runtime.heads import Head
from edgetl_runtime.types import Output
from numpy.typing import NDArray

from edgetl.building.number_heads import golden_of_numbers, guard_of_numbers
from edgetl.errors import ParityError
from edgetl.extraction import ExtractedPart

__all__ = ["Answers", "choose_golden", "guard_set"]

GUARD_PER_CLASS = 20
GOLDEN_SAMPLES = 8


@dataclass(frozen=True)
class Answers:
    """What one variant makes of the candidate frames: its head, and its features (N, D) in each engine.

    The first engine's features are those that the bundle says are right.
    """

    head: Head
    features: Mapping[str, NDArray[np.float32]]


def choose_golden(
    frames: Sequence[NDArray[Any]], answers: Mapping[str, Answers], classes: tuple[str, ...]
) -> GoldenSamples:
    """The frames that all variants in all engines decide alike and most clearly, one a class first.

    Rounding must not flip them elsewhere. Where heads give numbers, frames spread over all. Raises ParityError when
    they decide no frame alike.
    """
    if not classes:
        each = [
            golden_of_numbers(name, list(frames), next(iter(answer.features.values())), GOLDEN_SAMPLES)
            for name, answer in answers.items()
        ]
        return replace(each[0], features={name: rows for one in each for name, rows in one.features.items()})
    alike = np.ones(len(frames), bool)
    margin = np.full(len(frames), np.inf)
    labels: list[Any] = []
    for answer in answers.values():
        for features in answer.features.values():
            decided = list(answer.head.predict(features))
            labels = labels or decided
            alike &= np.array([a == b for a, b in zip(labels, decided, strict=True)], bool)
            ordered = np.sort(np.asarray(answer.head.predict_proba(features)), axis=1)
            margin = np.minimum(margin, ordered[:, -1] - ordered[:, -2])
    clearest = [int(i) for i in np.argsort(-margin, kind="stable") if alike[i]]
    if not clearest:
        raise ParityError(
            f"the variants {', '.join(answers)} decide none of {len(frames)} frames alike; build with fewer precisions,"
            " or with stricter limits"
        )
    first_of_class: dict[Any, int] = {}
    for index in clearest:
        first_of_class.setdefault(labels[index], index)
    rest = [i for i in clearest if i not in first_of_class.values()]
    chosen = [*first_of_class.values(), *rest][:GOLDEN_SAMPLES]
    return GoldenSamples(
        tuple(frames[i] for i in chosen),
        {name: next(iter(answer.features.values()))[chosen] for name, answer in answers.items()},
        np.array([classes.index(str(labels[i])) for i in chosen], dtype=np.int64),
    )


def guard_set(
    held_out: Mapping[str, ExtractedPart], classes: tuple[str, ...], outputs: tuple[Output, ...] = ()
) -> GuardSet:
    """At most 20 held-out samples a class, as features of every variant; `held_out` are the same samples in each.

    Where there are `outputs` in place of classes, samples spread over all.
    """
    if outputs:
        each = [guard_of_numbers(name, part, outputs) for name, part in held_out.items()]
        return replace(each[0], features={name: rows for one in each for name, rows in one.features.items()})
    labels = next(iter(held_out.values())).labels
    taken = dict.fromkeys(classes, 0)
    rows = []
    for row, label in enumerate(labels):
        if label in taken and taken[label] < GUARD_PER_CLASS:
            taken[label] += 1
            rows.append(row)
    return GuardSet(
        {name: part.features[rows] for name, part in held_out.items()},
        np.array([classes.index(labels[row]) for row in rows], dtype=np.int64),
    )
