"""Classes that a bundle knows by name before any labelled sample: one vector each, as samples in the additive sums.

A vector comes from the text tower of an image-text model (Radford et al. 2021), from any matrix, or, where the
extractor reads text, from the class's own name or description. It counts as `weight` samples about itself, spread
evenly in all directions as widely as the features at hand: the device then learns, merges and forgets as ever.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.engines import Engine
from edgetl_runtime.errors import LabelError, SampleError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.preprocess import Preprocess, TextPreprocess
from edgetl_runtime.sources.images import image_paths
from edgetl_runtime.statistics import Statistics
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DatasetError
from edgetl.extraction import run_engine

if TYPE_CHECKING:
    from edgetl.data import Dataset
    from edgetl.features import Extractor

__all__ = [
    "WEIGHT", "ClassVectors", "Given", "NamedClasses", "Names", "add_class_vectors", "named_classes",
    "read_class_names", "read_class_vectors", "unlabelled",
]  # fmt: skip

WEIGHT = 0.25  # measured (benchmarks/text.py): a round spread says little of the real one, which labels then give
_LABEL = "background"

Given = Mapping[str, ArrayLike] | str | Path
Names = Sequence[str] | Mapping[str, str | Sequence[str]] | str | Path


@dataclass(frozen=True)
class ClassVectors:
    """K classes with a vector each (K, D), and how many samples each counts as."""

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    weight: float = WEIGHT


@dataclass(frozen=True)
class NamedClasses:
    """Classes as a user names them: those with vectors, and those with texts that the extractor reads."""

    vectors: Mapping[str, NDArray[np.float32]]
    texts: Mapping[str, tuple[str, ...]]
    weight: float = WEIGHT

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, sorted."""
        return tuple(sorted({*self.vectors, *self.texts}))

    def embedded(self, engine: Engine, preprocess: Preprocess) -> ClassVectors:
        """Every class with its vector, a text's being the mean of its descriptions in `engine`; raises DatasetError."""
        found = dict(self.vectors)
        for name, texts in self.texts.items():
            try:
                rows = [run_engine(engine, preprocess.apply(text)) for text in texts]
            except SampleError as error:
                raise DatasetError(f"the description of {name!r} cannot be read: {error}") from error
            found[name] = np.asarray(np.mean(rows, axis=0, dtype=np.float64), np.float32)
        return ClassVectors(self.names, np.stack([found[name] for name in self.names]), self.weight)


def named_classes(
    vectors: Given | None, names: Names | None, weight: float, extractor: Extractor
) -> NamedClasses | None:
    """What `edgetl.build` was given, checked; None when it was given neither.

    `vectors` maps a name to (D,), or is a file of `read_class_vectors`; `names` are names, or names with descriptions,
    or a file of `read_class_names`, for an extractor of text. Raises DatasetError, LabelError.
    """
    if vectors is None and names is None:
        return None
    if not (np.isfinite(weight) and weight > 0):
        raise DatasetError(f"class_weight is how many samples a class vector counts as, above 0; got {weight}")
    told = read_class_vectors(vectors) if isinstance(vectors, str | Path) else dict(vectors or {})
    checked = {}
    for name, value in told.items():
        row = np.asarray(value, np.float32)
        if row.shape != (extractor.dim,) or not np.isfinite(row).all():
            raise DatasetError(
                f"the class vector of {name!r} must be {extractor.dim} finite numbers, as {extractor.name} gives"
                f" features; got {row.dtype} {row.shape}"
            )
        checked[plain_text(name, "class")] = row
    texts = _described(names)
    if texts and not isinstance(extractor.preprocess, TextPreprocess):
        raise DatasetError(f"{extractor.name} takes no text, so a name is no vector there: give class_vectors")
    if twice := set(checked) & set(texts):
        raise DatasetError(f"classes with both a vector and a description: {sorted(twice)[:5]}; give one")
    return NamedClasses(checked, texts, weight)


def add_class_vectors(statistics: Statistics, named: ClassVectors, variance: float) -> None:
    """Each vector v as rows v +- sqrt(D variance) e_d, 2 D of them, which weigh `named.weight` together.

    Their mean is v and their covariance `variance` in every direction, exactly.
    """
    dim = statistics.dim
    spread = np.sqrt(dim * variance) * np.eye(dim)
    rows = np.concatenate([spread, -spread])
    weights = np.full(2 * dim, named.weight / (2 * dim))
    for name, vector in zip(named.names, named.vectors, strict=True):
        statistics.add(vector.astype(np.float64) + rows, [name] * (2 * dim), weights=weights)


def read_class_vectors(path: str | Path) -> dict[str, NDArray[np.float32]]:
    """Name -> (D,) of a .safetensors with a tensor a class; of a CSV, a line `name,v1,...,vD` each; of a .npy (K, D)

    beside a .txt of the same name with K names, one a line. Raises DatasetError.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        if suffix == ".npy":
            rows = np.load(path, allow_pickle=False)
            names = [line.strip() for line in path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()]
            if rows.ndim != 2 or len(rows) != len(names):
                raise DatasetError(f"{path} is {rows.shape}, {path.with_suffix('.txt').name} has {len(names)} names")
            return _unique(list(zip(names, rows, strict=True)), path)
        if suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = [line for line in csv.reader(file) if line]
            return _unique([(line[0].strip(), np.array(line[1:], np.float32)) for line in lines], path)
    except DatasetError:
        raise
    except Exception as error:  # each reader raises its own
        raise DatasetError(f"{path} cannot be read as class vectors: {error}") from error
    raise DatasetError(f"{path}: class vectors are a .safetensors, a .csv, or a .npy with a .txt of names beside it")


def read_class_names(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Name -> descriptions of a text file, a class a line: `name`, or `name: description`; a name may come again."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    for line in lines:
        name, _, description = (part.strip() for part in line.partition(":"))
        if name:
            found[name] = (*found.get(name, ()), description or name)
    return found


def unlabelled(source: Any, named: NamedClasses) -> Dataset:
    """Samples without labels, for golden samples, the shift and the spread: `source`, else the descriptions.

    `source` is a dataset, whose labels do not count, a list of texts or arrays, a .txt with a text a line, or a folder
    of images or .txt files. Raises DatasetError.
    """
    from edgetl.data.dataset import Dataset
    from edgetl.data.readers import ImageReader
    from edgetl.data.texts import array_reader

    if isinstance(source, Dataset):
        return Dataset(source.name, (_LABEL,) * len(source), source.reader, 0.0, indices=source.indices)
    if source is None:
        texts = [text for described in named.texts.values() for text in described]
        if not texts or named.vectors:
            raise DatasetError("class vectors need samples beside them: give a dataset, or background= without labels")
        return Dataset("class names", (_LABEL,) * len(texts), array_reader(texts), 0.0)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir() and (images := image_paths(path)):
            return Dataset(path.name, (_LABEL,) * len(images), ImageReader(images), 0.0)
        files = sorted(path.rglob("*.txt")) if path.is_dir() else [path] if path.suffix.lower() == ".txt" else []
        try:
            lines = [line for file in files for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{source} cannot be read: {error}") from error
        if not (texts := [line for line in lines if line.strip()]):
            raise DatasetError(f"{source}: background is a folder of images or .txt files, or a .txt of lines")
        return Dataset(path.name, (_LABEL,) * len(texts), array_reader(texts), 0.0)
    return Dataset("background", (_LABEL,) * len(source), array_reader(source), 0.0)


def _described(names: Names | None) -> dict[str, tuple[str, ...]]:
    if names is None:
        return {}
    if isinstance(names, str | Path):
        names = read_class_names(names)
    pairs = names.items() if isinstance(names, Mapping) else [(name, name) for name in names]
    found = {}
    for name, told in pairs:
        texts = (told,) if isinstance(told, str) else tuple(told)
        if not texts:
            raise LabelError(f"the class {name!r} has no description")
        found[plain_text(name, "class")] = texts
    return found


def _unique(pairs: Sequence[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or "" in found:
        raise DatasetError(f"{path} names a class twice, or not at all")
    return found
