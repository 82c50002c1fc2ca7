"""Sequences: files that are numbered or stamped one after the other, and do look like their neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from edgetl_runtime.drift.distributions import binomial_sf
from numpy.typing import NDArray

from edgetl.checking.facts import Facts, Sample

__all__ = ["Sequence", "sequences"]

_NUMBERED = re.compile(r"^(.*?)(\d+)(\D*)$")
_REACH = 2
_LEAST = 8
_BLOCK = 512


@dataclass(frozen=True)
class Sequence:
    """Samples whose names count on from `first` to `last`, in one split or across several.

    `neighbourly` is the share of them whose most similar sample of the sequence is at most two numbers away; `chance`
    what it would be if the order meant nothing. `torn` samples are held out (or in another split) with such a
    neighbour in a split that comes before.
    """

    name: str
    first: Sample
    last: Sample
    samples: int
    neighbourly: float
    chance: float
    torn: int
    splits: tuple[str, ...]


def sequences(facts: Facts, share: float = 0.5, alpha: float = 1e-4) -> list[Sequence]:
    """Sequences of at least 8 samples, those that are torn apart by a split first.

    A sequence is told by its names (all but the last number is the same, the folder apart) and by what it shows: of
    at least `share` of its samples the nearest, by features or else by thumbnail, is a neighbour, and chance would
    give as many in fewer than `alpha` of such runs. Numbers alone prove nothing. O(512 N) comparisons.
    """
    rows = _appearance(facts)
    found = []
    for name, members in _numbered(facts):
        close, chances = 0, []
        for start in range(0, len(members), _BLOCK):
            block = members[start : start + _BLOCK]
            if len(block) < _LEAST:
                continue
            close += _neighbourly(rows[block])
            chances.append((len(block), min(1.0, 2.0 * _REACH / (len(block) - 1.0))))
        tried = sum(count for count, _ in chances)
        if not tried:
            continue
        chance = sum(count * value for count, value in chances) / tried
        if close / tried < share or binomial_sf(close, tried, chance) >= alpha:
            continue
        splits = facts.splits[members]
        found.append(
            Sequence(
                name, facts.sample(members[0]), facts.sample(members[-1]), len(members), close / tried, chance,
                _torn(splits), tuple(facts.split_names[i] for i in sorted(set(splits.tolist()))),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.torn, -one.samples, one.name))


def _numbered(facts: Facts) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Rows of each series of names, in the order of their numbers. One drive may lie in several folders."""
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in range(len(facts)):
        file = facts.name(row).replace("\\", "/").rpartition("/")[2]
        if match := _NUMBERED.match(file):
            series.setdefault((match[1], match[3]), []).append((int(match[2]), row))
    for (before, after), members in series.items():
        if len(members) < _LEAST:
            continue
        members.sort()
        yield f"{before}#{after}", np.array([row for _, row in members])


def _appearance(facts: Facts) -> NDArray[np.float32]:
    """What similarity is judged by: unit vectors (N, D) of features, else of thumbnails."""
    rows = facts.features
    if rows is None:
        rows = facts.thumbnails.reshape(len(facts), -1).astype(np.float32)
        rows = rows - rows.mean(axis=1, keepdims=True)
    else:
        rows = rows - rows.mean(axis=0)
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit


def _neighbourly(rows: NDArray[np.float32]) -> int:
    """How many of the rows have their nearest at most two places away."""
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -np.inf)
    return int((np.abs(likeness.argmax(axis=1) - np.arange(len(rows))) <= _REACH).sum())


def _torn(splits: NDArray[np.int8]) -> int:
    """Samples with a neighbour at most two places away in an earlier split."""
    lowest = splits.copy()
    for step in range(1, _REACH + 1):
        lowest[step:] = np.minimum(lowest[step:], splits[:-step])
        lowest[:-step] = np.minimum(lowest[:-step], splits[step:])
    return int((lowest < splits).sum())
