"""Copies: the same bytes, the same picture saved otherwise or cut, and samples with all but the same features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from edgetl_runtime.errors import SourceError
from numpy.typing import NDArray

from edgetl.checking.crops import CROP_SIDE, part_of, small_grey
from edgetl.checking.facts import Facts, Sample
from edgetl.checking.signatures import alike

__all__ = ["COSINE", "LEAST_ALIKE", "LEAST_PART", "CopyGroup", "copies"]

# Measured on Grocery photographs of 224 pixels: a picture saved again (JPEG quality 40 to 90, half its size) correlates
# by 0.993 or more with itself; of 310,078 pairs of different photographs the most alike do by 0.970 and 0.846.
LEAST_ALIKE = 0.985
# Their MobileNetV2 features, less the mean: 0.967 and less. Those of a picture cropped by 2 % or mirrored lie at 0.84
# or more, as those of a thousand different pairs do: such pairs are looked at again.
COSINE, _LOOK_AGAIN, _MOST_AGAIN = 0.975, 0.8, 20_000
LEAST_PART = 0.97
# Beyond these sizes a bucket holds pictures without content, and a comparison of all with all takes too long.
_BUCKET, _MOST_BY_FEATURES, _BLOCK = 100, 60_000, 1024


@dataclass(frozen=True)
class CopyGroup:
    """Samples that are copies of each other. `kind` is that of its loosest link: "same bytes", "same picture",
    "cropped or mirrored", or "alike features". `across` splits, the copy that judges is one that taught;
    `labels_differ`: one of them is wrong.
    """

    kind: str
    members: tuple[Sample, ...]
    across: bool
    labels_differ: bool


def copies(facts: Facts, by_features: bool = True) -> list[CopyGroup]:
    """All groups of copies among N samples, the largest first.

    Near copies are found by bands of two perceptual hashes (a cosine transform's and a gradient's; Zauner 2010) and
    judged by the correlation of their thumbnails. With features, up to 60,000 samples, pairs of a high cosine, less the
    mean feature, are copies too; those of a lower one where one picture is a part of the other or its mirror image.
    O(N log N), with features O(N^2 D) and some 10 ms for each of at most 20,000 pairs.
    """
    kinds = ("same bytes", "same picture", "cropped or mirrored", "alike features")
    links: list[tuple[int, int, int]] = [(a, b, 0) for a, b in _equal_rows(facts.digests)]
    # Of equal ones the first alone goes on: a thousand copies would be half a million pairs.
    single = np.ones(len(facts), bool)
    single[[row for _, row, _ in links]] = False
    links += [(a, b, 1) for a, b in _same_pictures(facts, np.flatnonzero(facts.pictures & single))]
    if by_features and facts.features is not None and single.sum() <= _MOST_BY_FEATURES:
        pairs, cosines = _near(facts.features, np.flatnonzero(single))
        links += [(int(a), int(b), 3) for a, b in pairs[cosines >= COSINE]]
        pictures = facts.pictures
        known = {(a, b) for a, b, _ in links}
        again = [(int(a), int(b)) for a, b in pairs if pictures[a] and pictures[b] and (a, b) not in known]
        links += [(a, b, 2) for a, b in _parts(facts, again[:_MOST_AGAIN])]
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


def _near(features: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pairs (P, 2) of rows with a high cosine (P,), the highest first."""
    centred = features[rows] - features.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    pairs, cosines = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK] @ unit[start:].T
        near = np.argwhere(np.triu(block, 1) >= _LOOK_AGAIN)
        pairs.append(rows[start + near])
        cosines.append(block[near[:, 0], near[:, 1]])
    order = np.argsort(-np.concatenate(cosines), kind="stable")
    return np.concatenate(pairs)[order], np.concatenate(cosines)[order]


def _parts(facts: Facts, pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Pairs of which one is a part of the other, or its mirror image."""
    greys: dict[int, NDArray[np.uint8]] = {}
    for pair in pairs:
        for row in pair:
            if row not in greys:
                try:
                    greys[row] = small_grey(facts.read(row))
                except SourceError:  # it was there a moment ago
                    greys[row] = np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
        if part_of(greys[pair[0]], greys[pair[1]]) >= LEAST_PART:
            yield pair
