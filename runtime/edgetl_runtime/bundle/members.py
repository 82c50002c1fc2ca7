"""What stands inside the members of a bundle, as records with one way out to bytes and one way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from edgetl_runtime.errors import BundleCorruptError, EdgetlError
from edgetl_runtime.heads import HEADS, Head, load_head
from edgetl_runtime.statistics import Statistics

__all__ = ["GoldenSamples", "GuardSet", "HeadMember"]


@dataclass(frozen=True)
class HeadMember:
    """`head.<variant>.safetensors`: the source statistics, which head is fitted on them, and that factory head."""

    source: Statistics
    head: str
    options: Dict[str, Any]
    factory: Head

    def pack(self) -> bytes:
        """Bytes of the member."""
        metadata = {
            "statistics": self.source.metadata(),
            "head": self.head,
            "options": self.options,
            "factory": self.factory.metadata(),
        }
        tensors = {f"source.{name}": array for name, array in self.source.state().items()}
        tensors.update({f"factory.{name}": array for name, array in self.factory.state().items()})
        return pack_tensors(tensors, metadata)

    @classmethod
    def unpack(cls, data: bytes, what: str, feature_space: str, dim: int) -> HeadMember:
        """The record of those bytes; raises BundleCorruptError when it does not fit the variant."""
        tensors, metadata = unpack_tensors(data, what)
        try:
            if set(metadata) != {"statistics", "head", "options", "factory"}:
                raise ValueError("it does not hold what a head member holds")
            if any(not isinstance(metadata[key], dict) for key in ("statistics", "options", "factory")):
                raise ValueError("statistics, options and factory must be objects")
            if metadata["head"] not in HEADS:
                raise ValueError(f"there is no head {metadata['head']!r} here; there are {sorted(HEADS)}")
            parts: Dict[str, Dict[str, NDArray[Any]]] = {"source": {}, "factory": {}}
            for name, array in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = array
            source = Statistics.from_state(parts["source"], metadata["statistics"])
            factory = load_head(parts["factory"], metadata["factory"])
            member = cls(source, str(metadata["head"]), dict(metadata["options"]), factory)
            factory.decision(np.zeros((1, dim), np.float32))
        except (EdgetlError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleCorruptError(f"{what}: {error}; build the bundle again") from error
        if source.dim != dim or [source.feature_space, factory.feature_space] != [feature_space] * 2:
            raise BundleCorruptError(f"{what}: its statistics belong to another extractor; build the bundle again")
        return member


@dataclass(frozen=True)
class GuardSet:
    """`guard.safetensors`: source features (N, D) float32 by variant, and labels (N,) as indices of classes."""

    features: Dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]

    def pack(self) -> bytes:
        """Bytes of the member."""
        tensors: Dict[str, NDArray[Any]] = {f"features.{name}": array for name, array in self.features.items()}
        return pack_tensors({**tensors, "labels": self.labels}, {"kind": "guard"})

    @classmethod
    def unpack(cls, data: bytes, what: str, dims: Mapping[str, int], classes: int) -> GuardSet:
        """The record of those bytes, for variants of D = `dims[name]`; raises BundleCorruptError."""
        tensors, _ = unpack_tensors(data, what)
        labels = _indices(tensors, "labels", classes, what)
        return cls(_features(tensors, dims, len(labels), what), labels)


@dataclass(frozen=True)
class GoldenSamples:
    """`golden.safetensors`: raw samples, the features (N, D) expected of each variant, decisions as class indices."""

    samples: Tuple[NDArray[Any], ...]
    features: Dict[str, NDArray[np.float32]]
    decisions: NDArray[np.int64]

    def pack(self) -> bytes:
        """Bytes of the member."""
        tensors: Dict[str, NDArray[Any]] = {f"sample.{i}": sample for i, sample in enumerate(self.samples)}
        tensors.update({f"features.{name}": array for name, array in self.features.items()})
        return pack_tensors({**tensors, "decisions": self.decisions}, {"kind": "golden"})

    @classmethod
    def unpack(cls, data: bytes, what: str, dims: Mapping[str, int], classes: int) -> GoldenSamples:
        """The record of those bytes, for variants of D = `dims[name]`; raises BundleCorruptError."""
        tensors, _ = unpack_tensors(data, what)
        decisions = _indices(tensors, "decisions", classes, what)
        names = [f"sample.{i}" for i in range(len(decisions))]
        if not names or any(name not in tensors for name in names):
            raise BundleCorruptError(f"{what}: samples are missing; build the bundle again")
        return cls(tuple(tensors[n] for n in names), _features(tensors, dims, len(names), what), decisions)


def _features(
    tensors: Mapping[str, NDArray[Any]], dims: Mapping[str, int], count: int, what: str
) -> Dict[str, NDArray[np.float32]]:
    found = {}
    for name, dim in dims.items():
        array = tensors.get(f"features.{name}")
        if array is None or array.dtype != np.float32 or array.shape != (count, dim):
            got: Sequence[int] = () if array is None else array.shape
            raise BundleCorruptError(f"{what}: features of {name} must be float32 ({count}, {dim}), got {got}")
        found[name] = array
    return found


def _indices(tensors: Mapping[str, NDArray[Any]], name: str, classes: int, what: str) -> NDArray[np.int64]:
    array = tensors.get(name)
    if array is None or array.dtype != np.int64 or array.ndim != 1:
        raise BundleCorruptError(f"{what}: {name} must be int64 (N,)")
    if array.size and not (array.min() >= 0 and array.max() < classes):
        raise BundleCorruptError(f"{what}: {name} must be indices of the {classes} classes")
    return array
