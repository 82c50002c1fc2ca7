"""What stands inside the members of a bundle, as records with one way out to bytes and one way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.manifest import PROJECTED_STATISTICS, SOURCE_FEATURES, Variant
from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError, EdgetlError
from edgetl_runtime.heads import HEADS, Head, RandomReLU, TargetHead, load_head
from edgetl_runtime.heads.ridge_rp import ProjectedHead, ProjectedRegressor
from edgetl_runtime.labels import targets_text
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

__all__ = ["GoldenSamples", "GuardSet", "HeadMember", "SourceSamples", "read_guard", "read_head"]

# A device keeps these in memory, twice while it fits.
MAX_RESERVOIR_BYTES = 256 * 2**20


@dataclass(frozen=True)
class HeadMember:
    """`head.<variant>.safetensors`: the source statistics, which head is fitted on them, and that factory head.

    Two parts are there only for the heads that cannot do without (format 1.1). `projected` are statistics of the
    source's features behind the head's random layer, as `ridge_rp` needs. `samples` are features of some source
    samples in float16, of which `softmax`, `mlp` and `knn` are fitted; their numbers are negative. Unlike sums over
    many samples, a feature can tell much of the very sample that it came from.
    """

    source: Statistics
    head: str
    options: Dict[str, Any]
    factory: Head
    projected: Optional[Statistics] = None
    samples: Optional[Reservoir] = None

    @property
    def carries(self) -> Tuple[str, ...]:
        """What a manifest says that it holds beyond format 1.0."""
        parts = ((PROJECTED_STATISTICS, self.projected), (SOURCE_FEATURES, self.samples))
        return tuple(name for name, part in parts if part is not None)

    @property
    def exact(self) -> bool:
        """Whether what is learnt, merged and forgotten in any order ends in the same head, to rounding.

        False for a head that is refitted from a reservoir: what was forgotten has no part in it either, but which of
        the other samples it was fitted on is a matter of their order and number.
        """
        return HEADS[self.head].exact

    @property
    def target_count(self) -> int:
        """Q: how many real numbers the head gives; 0 for a head of classes."""
        return self.source.target_count

    def counted_as(self, label: str) -> str:
        """What a stored label counts as: its class, or, where it is the text of targets, the one name of all these."""
        return "" if self.target_count else label

    @property
    def layer(self) -> Optional[RandomReLU]:
        """The random layer of a head that has one."""
        holder = self.factory.regressor if isinstance(self.factory, TargetHead) else self.factory
        return holder.layer if isinstance(holder, (ProjectedHead, ProjectedRegressor)) else None

    def pack(self) -> bytes:
        """Bytes of the member."""
        metadata = {
            "statistics": self.source.metadata(),
            "head": self.head,
            "options": self.options,
            "factory": self.factory.metadata(),
        }
        tensors: Dict[str, NDArray[Any]] = {f"source.{name}": array for name, array in self.source.state().items()}
        tensors.update({f"factory.{name}": array for name, array in self.factory.state().items()})
        for part, held in (("projected", self.projected), ("samples", self.samples)):
            if held is not None:
                metadata[part] = held.metadata()
                tensors.update({f"{part}.{name}": array for name, array in held.state().items()})
        return pack_tensors(tensors, metadata)

    @classmethod
    def unpack(cls, data: bytes, what: str, feature_space: str, dim: int) -> HeadMember:
        """The record of those bytes; raises BundleCorruptError when it does not fit the variant."""
        tensors, metadata = unpack_tensors(data, what)
        try:
            member = _head_member(tensors, metadata, dim)
            member.factory.decision(np.zeros((1, dim), np.float32))
        except (EdgetlError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise BundleCorruptError(f"{what}: {error}; build the bundle again") from error
        spaces = [member.source.feature_space, member.factory.feature_space]
        spaces += [] if member.projected is None else [member.projected.feature_space]
        if member.source.dim != dim or any(space != feature_space for space in spaces):
            raise BundleCorruptError(f"{what}: its statistics belong to another extractor; build the bundle again")
        return member


class SourceSamples(NamedTuple):
    """The guard set of one variant: features (N, D) and labels (N) of the source, which no head was trained on.

    For a head of numbers a label is the text of its targets (`labels.targets_text`).
    """

    features: NDArray[np.float32]
    labels: Sequence[str]


@dataclass(frozen=True)
class GuardSet:
    """`guard.safetensors`: source features (N, D) float32 by variant, and labels (N,) as indices of classes.

    Without classes the labels are zeros, and `targets` (N, Q) are what a head should say.
    """

    features: Dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    targets: Optional[NDArray[np.float64]] = None

    def pack(self) -> bytes:
        """Bytes of the member."""
        tensors: Dict[str, NDArray[Any]] = {f"features.{name}": array for name, array in self.features.items()}
        if self.targets is not None:
            tensors["targets"] = self.targets
        return pack_tensors({**tensors, "labels": self.labels}, {"kind": "guard"})

    @classmethod
    def unpack(cls, data: bytes, what: str, dims: Mapping[str, int], classes: int, outputs: int = 0) -> GuardSet:
        """The record of those bytes, for variants of D = `dims[name]`; raises BundleCorruptError."""
        tensors, _ = unpack_tensors(data, what)
        labels = _indices(tensors, "labels", classes, what)
        targets = tensors.get("targets")
        wanted = (np.dtype(np.float64), (len(labels), outputs)) if outputs else None
        if wanted != (None if targets is None else (targets.dtype, targets.shape)):
            shape = f"({len(labels)}, {outputs})"
            raise BundleCorruptError(f"{what}: targets must be float64 {shape}, and only where there are outputs")
        _check_count(tensors, len(dims) + 1 + (targets is not None), what)
        return cls(_features(tensors, dims, len(labels), what), labels, targets)


@dataclass(frozen=True)
class GoldenSamples:
    """`golden.safetensors`: raw samples, the features (N, D) expected of each variant, decisions as class indices.

    Without classes the decisions are zeros: what a head says follows from the features.
    """

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
        _check_count(tensors, len(decisions) + len(dims) + 1, what)
        names = [f"sample.{i}" for i in range(len(decisions))]
        if not names or any(name not in tensors for name in names):
            raise BundleCorruptError(f"{what}: samples are missing; build the bundle again")
        return cls(tuple(tensors[n] for n in names), _features(tensors, dims, len(names), what), decisions)


def read_head(bundle: Bundle, variant: Variant) -> HeadMember:
    """The head member of a variant, held against the manifest; raises BundleCorruptError, BundleFormatError."""
    member = HeadMember.unpack(bundle.members[variant.head], variant.head, variant.feature_space, variant.dim)
    if member.factory.classes != bundle.manifest.classes:
        raise BundleFormatError(
            f"{variant.head} knows the classes {list(member.factory.classes)[:8]}, its manifest says"
            f" {list(bundle.manifest.classes)[:8]}; build the bundle again"
        )
    if member.target_count != len(bundle.manifest.outputs):
        raise BundleFormatError(
            f"{variant.head} gives {member.target_count} numbers, its manifest says {len(bundle.manifest.outputs)};"
            " build the bundle again"
        )
    if member.carries != bundle.manifest.carries:
        raise BundleFormatError(
            f"{variant.head} carries {list(member.carries)}, its manifest says {list(bundle.manifest.carries)};"
            " build the bundle again"
        )
    return member


def read_guard(bundle: Bundle, variant: Variant) -> SourceSamples:
    """The guard set of a variant; raises BundleCorruptError."""
    manifest = bundle.manifest
    dims = {one.name: one.dim for one in manifest.variants}
    name = "guard.safetensors"
    guard = GuardSet.unpack(bundle.members[name], name, dims, len(manifest.classes), len(manifest.outputs))
    if guard.targets is not None:
        return SourceSamples(guard.features[variant.name], [targets_text(row) for row in guard.targets.tolist()])
    return SourceSamples(guard.features[variant.name], [manifest.classes[index] for index in guard.labels.tolist()])


def _head_member(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], dim: int) -> HeadMember:
    head: Any = metadata.get("head")
    if head not in HEADS:
        raise ValueError(f"there is no head {head!r} here; there are {sorted(HEADS)}")
    further = ["projected"] if HEADS[head].projected else [] if HEADS[head].exact else ["samples"]
    if set(metadata) != {"statistics", "head", "options", "factory", *further}:
        raise ValueError("it does not hold what a head member holds")
    if any(not isinstance(metadata[key], dict) for key in ("statistics", "options", "factory", *further)):
        raise ValueError("statistics, options and factory must be objects")
    parts: Dict[str, Dict[str, NDArray[Any]]] = {part: {} for part in ("source", "factory", *further)}
    for name, array in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = array
    source = Statistics.from_state(parts["source"], metadata["statistics"])
    projected = Statistics.from_state(parts["projected"], metadata["projected"]) if "projected" in parts else None
    samples = Reservoir.from_state(parts["samples"], metadata["samples"]) if "samples" in parts else None
    if source.dim != dim:
        raise ValueError(f"its statistics are of {source.dim} features, the variant gives {dim}")
    if projected is not None:
        _check_layer(parts["factory"], metadata["factory"], dim, projected.dim)
    factory = load_head(parts["factory"], metadata["factory"])
    member = HeadMember(source, head, dict(metadata["options"]), factory, projected, samples)
    if factory.name != head:
        raise ValueError(f"its factory head is {factory.name!r}, not {head!r}")
    if isinstance(factory, TargetHead) != bool(source.target_count) or (source.target_count and source.classes):
        raise ValueError("its statistics and its factory head are not both of classes, or both of numbers")
    if isinstance(factory, TargetHead) and len(factory.spread) != source.target_count:
        raise ValueError(f"its factory head gives {len(factory.spread)} numbers, its statistics {source.target_count}")
    if projected is not None:
        width = None if member.layer is None else member.layer.width
        of = [(side.classes, side.count, side.target_count) for side in (source, projected)]
        if projected.dim != width or of[0] != of[1]:
            raise ValueError("its projected statistics are not of the same samples behind the same layer")
    if samples is not None:
        if samples.dim != dim or set(samples.labels.tolist()) != set(source.classes):
            raise ValueError(f"its samples must be (N, {dim}) and of every class")
        if max(samples.numbers) >= 0 or samples.capacity * 2 * dim > MAX_RESERVOIR_BYTES:
            raise ValueError(f"its samples must have negative numbers and room for {MAX_RESERVOIR_BYTES} bytes at most")
    return member


def _check_count(tensors: Mapping[str, NDArray[Any]], count: int, what: str) -> None:
    if len(tensors) != count:
        raise BundleCorruptError(f"{what}: holds {len(tensors)} tensors, {count} belong there; build the bundle again")


def _check_layer(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], dim: int, width: int) -> None:
    """Before the random layer is made, whose size is the product of two numbers: each by sums that are there."""
    said = metadata.get("layer", metadata.get("regressor", {}).get("layer", {})).get("width")
    if arrays["layer_shift"].shape != (dim,) or type(said) is not int or said != width:
        raise ValueError(f"its random layer is not of {dim} features and as wide as its projected statistics, {width}")


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
    if array.size and not (array.min() >= 0 and array.max() < max(classes, 1)):
        raise BundleCorruptError(f"{what}: {name} must be indices of the {classes} classes")
    return array
