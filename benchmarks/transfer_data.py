"""Three real classification sets as pictures: shop photographs, handwritten digits, spoken digits as spectrograms."""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgetl
from benchmarks.evidence import data_folder
from edgetl.data import Dataset

__all__ = ["SETS", "Shots", "shots"]


@dataclass(frozen=True)
class Shots:
    """A dataset of which only so many samples a class may be trained on; what is held out is always the same."""

    name: str
    training: Dataset
    held_out: Dataset

    @property
    def classes(self) -> tuple[Any, ...]:
        return self.training.classes

    @property
    def hash(self) -> str:
        return self.training.hash


def shots(data: Dataset, count: int | None, seed: int = 0) -> Shots:
    """`count` samples of each class (all where there are fewer, or with None), drawn by the seed."""
    part = data.training
    if count is None:
        return Shots(data.name, part, data.held_out)
    generator = np.random.default_rng(seed)
    labels = np.array([part.classes.index(label) for label in part.labels])
    drawn = [generator.permutation(np.flatnonzero(labels == c))[:count] for c in range(len(part.classes))]
    chosen = sorted(np.concatenate(drawn).tolist())
    kept = {"labels": tuple(part.labels[i] for i in chosen), "indices": tuple(part.indices[i] for i in chosen)}
    return Shots(data.name, replace(part, **kept), data.held_out)


@cache
def grocery() -> Dataset:
    """The authors' training photographs: 50 classes."""
    return edgetl.dataset(data_folder() / "grocery_fruitveg" / "train", holdout=0.25, name="grocery")


@cache
def digits() -> Dataset:
    """The 1,797 UCI digits of scikit-learn, 8 x 8: 10 classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    frames = np.repeat(np.round(data.images * (255 / 16)).astype(np.uint8)[..., None], 3, axis=3)
    return edgetl.dataset(frames, [str(one) for one in data.target], holdout=0.25, name="digits")


@cache
def spoken() -> Dataset:
    """The 750 spoken digits of three speakers as log spectrograms 64 x 64: 10 classes."""
    frames, labels = [], []
    for path in sorted((data_folder() / "fsdd").glob("*.wav")):
        with wave.open(str(path)) as file:
            frames.append(_spectrogram(np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768.0))
        labels.append(path.stem.split("_")[0])
    return edgetl.dataset(frames, labels, holdout=0.25, name="spoken digits")


def _spectrogram(signal: NDArray[np.float64]) -> NDArray[np.uint8]:
    padded = np.pad(signal, (0, max(0, 256 + 63 * 16 - len(signal))))
    step = (len(padded) - 256) // 63
    windows = np.lib.stride_tricks.sliding_window_view(padded, 256)[:: max(step, 1)][:64] * np.hanning(256)
    logs = np.log10(np.abs(np.fft.rfft(windows, axis=1)[:, 1:129]).reshape(64, 64, 2).mean(axis=2) + 1e-3).T[::-1]
    scaled = np.clip((logs + 3) / 4.5 * 255, 0, 255).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2)


SETS: dict[str, Callable[[], Dataset]] = {"grocery": grocery, "digits": digits, "spoken": spoken}
