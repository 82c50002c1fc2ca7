"""The data sets and the streams of `make guard`: what a person, an accident or an attacker teaches a device.

A set is one domain shift: source statistics, factory head, the source guard set of a bundle, samples of the old
and the new domain that judge. A stream is what is taught, sample by sample: features, labels as given, true labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from edgetl_runtime.heads import Head, fit_head
from edgetl_runtime.statistics import Statistics

from benchmarks.fewshot_data import Shift, shifts

HEAD = "slda"
GUARD_PER_CLASS = 20  # as `edgetl.build` ships them
LONGEST = 300  # labels of a clean stream: more than most people give
MOST_OLD = 600
WIDEST = 256  # features of the photographs go through a frozen PCA of the source, as for any small board
NO_CLASS = -1  # the true class of nonsense


@dataclass(frozen=True)
class Part:
    """Features (N, D) and labels (N)."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Task:
    """One domain shift, drawn with one seed: what the bundle ships, what can be taught, what judges."""

    name: str
    source: Statistics
    factory: Head
    samples: Part  # of the source: what an attacker knows
    guard: Part
    old: Part
    pool: Part
    new: Part
    seed: int

    @property
    def empty(self) -> Statistics:
        return Statistics(self.source.dim, shift=self.source.shift)

    def generator(self, salt: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, salt, sum(map(ord, self.name))])


@dataclass(frozen=True)
class Stream:
    """Features (N, D), the labels (N) that are taught, the true ones (N; NO_CLASS where there is none)."""

    x: np.ndarray
    labels: np.ndarray
    truth: np.ndarray


@cache
def reduced(name: str) -> tuple[Shift, ...]:
    made = []
    for make in shifts()[name]:
        shift = make()
        if shift.source.shape[1] > WIDEST:
            mean = shift.source.mean(axis=0)
            axes = np.linalg.svd(shift.source - mean, full_matrices=False)[2][:WIDEST].T
            x = [(part - mean) @ axes for part in (shift.source, shift.pool, shift.test)]
            y = (shift.source_labels, shift.pool_labels, shift.test_labels)
            shift = Shift(shift.name, *(part for pair in zip(x, y, strict=True) for part in pair))
        made.append(shift)
    return tuple(made)


def tasks(name: str, seed: int) -> list[Task]:
    """Every shift of a set, its source cut anew: 60 % fit the factory head, the rest judges it."""
    return [_task(shift, seed) for shift in reduced(name)]


def _task(shift: Shift, seed: int) -> Task:
    rng = np.random.default_rng([seed, 1])
    fitted, guard, old = [], [], []
    for label in np.unique(shift.source_labels):
        rows = np.flatnonzero(shift.source_labels == label)
        # Neighbours of a recording stay together.
        blocks = np.array_split(rows, max(1, len(rows) // 5))
        order = [blocks[i] for i in rng.permutation(len(blocks))]
        first, second = round(0.6 * len(order)), round(0.8 * len(order))
        fitted += [i for block in order[:first] for i in block]
        judged = [i for block in order[first:second] for i in block]
        guard += judged[:GUARD_PER_CLASS]
        old += judged[GUARD_PER_CLASS:] + [i for block in order[second:] for i in block]
    x, y = shift.source.astype(np.float64), shift.source_labels
    source = Statistics(x.shape[1], shift=x[fitted].mean(axis=0))
    source.add(x[fitted], y[fitted])
    factory = fit_head(HEAD, Statistics(x.shape[1], shift=source.shift), source)
    old = rng.permutation(old)[:MOST_OLD]
    parts = [Part(x[rows], y[rows]) for rows in (fitted, guard, old)]
    known = np.isin(shift.pool_labels, y)
    pool = Part(shift.pool[known].astype(np.float64), shift.pool_labels[known])
    new = Part(shift.test.astype(np.float64), shift.test_labels)
    return Task(shift.name, source, factory, *parts, pool, new, seed)


# ---------------------------------------------------------------- streams


def clean(task: Task, longest: int = LONGEST) -> Stream:
    order = task.generator(2).permutation(len(task.pool.y))[:longest]
    return Stream(task.pool.x[order], task.pool.y[order], task.pool.y[order])


def flipped(share: float) -> Callable[[Task], Stream]:
    """Labels turned into another class at random."""

    def make(task: Task) -> Stream:
        stream, rng = clean(task), task.generator(3)
        classes = np.array(task.factory.classes)
        position = np.searchsorted(classes, stream.labels)
        other = (position + rng.integers(1, len(classes), len(position))) % len(classes)
        wrong = rng.random(len(position)) < share
        return Stream(stream.x, np.where(wrong, classes[other], stream.labels), stream.truth)

    return make


def swapped(task: Task) -> Stream:
    """One class of at least a twentieth of the stream always gets the label of another that also occurs."""
    stream, rng = clean(task), task.generator(4)
    classes, counts = np.unique(stream.truth, return_counts=True)
    often = classes[counts >= min(0.05 * len(stream.truth), np.sort(counts)[-2])]
    wrong = rng.choice(often)
    taken = rng.choice(classes[classes != wrong])
    return Stream(stream.x, np.where(stream.truth == wrong, taken, stream.truth), stream.truth)


def crafted(task: Task) -> Stream:
    """Ten samples that move the head most, at random places of the first sixty of an honest stream.

    White box: of all pairs of classes the one whose loss costs the learnt head most; features lie on the far
    side of the victim's mean, 1, 3 or 10 times as far as it is typical, with the label of the other.
    """
    stream, rng = clean(task, 150), task.generator(5)
    reach = (1.0, 3.0, 10.0)[task.seed % 3]
    classes = np.array(task.factory.classes)
    means = np.stack([task.samples.x[task.samples.y == label].mean(axis=0) for label in classes])
    spread = np.sqrt(np.mean([((task.samples.x[task.samples.y == k] - m) ** 2).sum(axis=1).mean()
                              for k, m in zip(classes, means, strict=True)]))  # fmt: skip
    pairs = [(a, b) for a in range(len(classes)) for b in range(len(classes)) if a != b]
    if len(pairs) > 30:
        pairs = [pairs[i] for i in rng.choice(len(pairs), 30, replace=False)]
    best, worst = None, np.inf
    for victim, label in pairs:
        away = means[victim] - means[label]
        x = means[victim] + reach * spread * away / np.linalg.norm(away)
        x = x + 0.1 * spread / np.sqrt(len(x[None].T)) * rng.normal(size=(10, len(away)))
        learnt = task.empty
        learnt.add(np.concatenate([stream.x[:30], x]), np.concatenate([stream.labels[:30], [classes[label]] * 10]))
        head = fit_head(HEAD, learnt, task.source)
        right = np.mean(head.predict(task.guard.x) == task.guard.y) + np.mean(head.predict(task.pool.x) == task.pool.y)
        if right < worst:
            best, worst = (x, label), right
    assert best is not None
    places = np.sort(rng.choice(min(60, len(stream.labels)), 10, replace=False))
    return Stream(
        np.insert(stream.x, places, best[0], axis=0),
        np.insert(stream.labels, places, classes[best[1]]),
        np.insert(stream.truth, places, NO_CLASS),
    )


def one_class(task: Task) -> Stream:
    """All samples of one class, rightly labelled, and nothing else."""
    rng = task.generator(6)
    classes, counts = np.unique(task.pool.y, return_counts=True)
    label = rng.choice(classes[counts >= min(10, counts.max())])
    rows = rng.permutation(np.flatnonzero(task.pool.y == label))[:100]
    return Stream(task.pool.x[rows], task.pool.y[rows], task.pool.y[rows])


def near_duplicates(task: Task) -> Stream:
    """Thirty honest samples, then one scene a thousand times; its label is right or wrong by turns of the seed."""
    stream, rng = clean(task, 31), task.generator(7)
    noise = within_spread(task) * rng.choice([0.02, 0.05, 0.1])
    scene = stream.x[30] + noise * rng.normal(size=(1000, len(noise)))
    truth = stream.truth[30]
    label = truth if task.seed % 2 == 0 else rng.choice([c for c in task.factory.classes if c != truth])
    x = np.concatenate([stream.x[:30], scene])
    given = np.concatenate([stream.labels[:30], np.full(1000, label)])
    return Stream(x, given, np.concatenate([stream.truth[:30], np.full(1000, truth)]))


def nonsense(task: Task) -> Stream:
    """What no sensor of this device sees, labelled all the same: alone, or every second sample of an honest stream.

    Noise three times as wide as the source, uniform over its range, or its features each from another sample;
    one label for all, or any label.
    """
    rng = task.generator(8)
    samples, count = task.samples.x, 150
    mean, spread, dim = samples.mean(axis=0), samples.std(axis=0), samples.shape[1]
    x = [
        mean + 3.0 * spread * rng.normal(size=(count, dim)),
        rng.uniform(samples.min(axis=0), samples.max(axis=0), size=(count, dim)),
        samples[rng.integers(len(samples), size=(count, dim)), np.arange(dim)],
    ][task.seed % 3]
    classes = np.array(task.factory.classes)
    labels = np.full(count, rng.choice(classes)) if task.seed % 4 < 2 else rng.choice(classes, count)
    truth = np.full(count, NO_CLASS)
    if task.seed % 2 == 0:
        return Stream(x, labels, truth)
    honest = clean(task, count)
    n = len(honest.labels)
    every = [np.stack(pair, axis=1).reshape(2 * n, *pair[0].shape[1:]) for pair in (
        (honest.x, x[:n]), (honest.labels, labels[:n]), (honest.truth, truth[:n]))]  # fmt: skip
    return Stream(*every)


def within_spread(task: Task) -> np.ndarray:
    """Standard deviation (D) of the source within its classes."""
    x, y = task.samples.x, task.samples.y
    rest = np.concatenate([x[y == label] - x[y == label].mean(axis=0) for label in np.unique(y)])
    return rest.std(axis=0)


SCENARIOS: dict[str, Callable[[Task], Stream]] = {
    "a clean": clean,
    "b 20 % flipped": flipped(0.2),
    "b 40 % flipped": flipped(0.4),
    "c one class as another": swapped,
    "d ten crafted": crafted,
    "e one class only": one_class,
    "f 1,000 near-duplicates": near_duplicates,
    "g nonsense": nonsense,
}
