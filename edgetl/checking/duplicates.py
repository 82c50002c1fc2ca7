"""Copies: the same bytes, the same picture saved otherwise, and samples with all but the same features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.checking.facts import Facts, Sample
from edgetl.checking.signatures import alike

__all__ = ["COSINE", "LEAST_ALIKE", "CopyGroup", "copies"]

# Measured on Grocery photographs of 224 pixels: a picture saved again (JPEG quality 40 to 90, half its size) correlates
# by 0.993 or more with itself; of 310,078 pairs of different photographs the most alike do by 0.970 and 0.846.
LEAST_ALIKE = 0.985
# Their MobileNetV2 features, less the mean: 0.967 and less.
COSINE = 0.975
# Beyond these sizes a bucket holds pictures without content, and a comparison of all with all takes too long.
_BUCKET, _MOST_BY_FEATURES, _BLOCK = 100, 60_000, 1024


@dataclass(frozen=True)
class CopyGroup:
    """Samples that are copies of each other. `kind` is that of its loosest link: "same bytes", "same picture", or
    "alike features". `across` splits, the copy that judges is one that taught; `labels_differ`: one of them is wrong.
    """

    kind: str
    members: tuple[Sample, ...]
    across: bool
    labels_differ: bool


def copies(facts: Facts, by_features: bool = True) -> list[CopyGroup]:
    """All groups of copies among N samples, the largest first.

    Near copies are found by bands of two perceptual hashes (a cosine transform's and a gradient's; Zauner 2010) and
    judged by the correlation of their thumbnails; then, up to 60,000 samples, by the cosine of their features, less
    the mean feature. O(N log N), with features O(N^2 D).
    """
    kinds = ("same bytes", "same picture", "alike features")
    links: list[tuple[int, int, int]] = [(a, b, 0) for a, b in _equal_rows(facts.digests)]
    # Of equal ones the first alone goes on: a thousand copies would be half a million pairs.
    single = np.ones(len(facts), bool)
    single[[row for _, row, _ in links]] = False
    links += [(a, b, 1) for a, b in _same_pictures(facts, np.flatnonzero(facts.pictures & single))]
    if by_features and facts.features is not None and single.sum() <= _MOST_BY_FEATURES:
        links += [(a, b, 2) for a, b in _alike_features(facts.features, np.flatnonzero(single))]
    parent = np.arange(len(facts))
    loosest: dict[int, int] = {}
    # The strictest first: a group is called by the loosest link that it needed to hold together.
    for first, second, kind in sorted(links, key=lambda link: link[2]):
        one, other = _root(parent, first), _root(parent, second)
        if one != other:
            parent[other] = one
            loosest[one] = max(kind, loosest.get(one, 0), loosest.pop(other, 0))
    members: dict[int, list[int]] = {}
    for row in sorted({row for a, b, _ in links for row in (a, b)}):
        members.setdefault(_root(parent, row), []).append(row)
    groups = [_group(facts, kinds[loosest[root]], rows) for root, rows in members.items()]
    return sorted(groups, key=lambda group: (not group.across, -len(group.members), group.members[0].row))


def _group(facts: Facts, kind: str, rows: list[int]) -> CopyGroup:
    samples = tuple(facts.sample(row) for row in rows)
    return CopyGroup(kind, samples, len({s.split for s in samples}) > 1, len({s.label for s in samples}) > 1)


def _root(parent: NDArray[np.int64], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def _equal_rows(rows: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    keys = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    for row in np.flatnonzero(first[inverse] != np.arange(len(rows))):
        yield int(first[inverse[row]]), int(row)


def _same_pictures(facts: Facts, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    seen: set[tuple[int, int]] = set()
    for band in facts.hashes[rows].view(np.uint16).reshape(len(rows), 8).T:
        for first, second in _same_bucket(band):
            pair = int(rows[first]), int(rows[second])
            seen.add((min(pair), max(pair)))
    if not seen:
        return
    pairs = np.array(sorted(seen))
    for start in range(0, len(pairs), 100_000):
        block = pairs[start : start + 100_000]
        good = alike(facts.thumbnails[block[:, 0]], facts.thumbnails[block[:, 1]]) >= LEAST_ALIKE
        yield from ((int(a), int(b)) for a, b in block[good])


def _same_bucket(band: NDArray[np.uint16]) -> Iterable[tuple[int, int]]:
    """Pairs of positions with the same value; in a large bucket only neighbours."""
    order = np.argsort(band, kind="stable")
    edges = np.flatnonzero(np.diff(band[order].astype(np.int64))) + 1
    for bucket in np.split(order, edges):
        reach = len(bucket) if len(bucket) <= _BUCKET else 8
        for i in range(len(bucket)):
            for j in range(i + 1, min(len(bucket), i + 1 + reach)):
                yield int(bucket[i]), int(bucket[j])


def _alike_features(features: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    centred = features[rows] - features.mean(axis=0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.maximum(norms, 1e-12)
    for start in range(0, len(unit), _BLOCK):
        cosines = unit[start : start + _BLOCK] @ unit[start:].T
        near = np.argwhere(cosines >= COSINE)
        yield from ((int(rows[start + a]), int(rows[start + b])) for a, b in near if b > a)
