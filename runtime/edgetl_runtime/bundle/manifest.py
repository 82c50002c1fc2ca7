"""The manifest: what a bundle is, as frozen records, with a parser that refuses what it does not know.

A device that ignores a key may preprocess wrongly, so an unknown key is an error. A newer minor format is
refused too, with both versions in the message. Free text belongs under `notes`. A manifest says the lowest format
that holds it, so that every runtime reads what it can: 1.0, or, with `plans`, `carries`, `outputs` or text, 1.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

from edgetl_runtime.bundle.fields import MAX_MEMBERS, MEMBER_NAME, Fields
from edgetl_runtime.bundle.outputs import dump_outputs, parse_outputs
from edgetl_runtime.bundle.plans import ANY_DEVICE, EngineChoice, check_plans, dump_plans, parse_plans
from edgetl_runtime.documents import parse_document
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError, LabelError
from edgetl_runtime.labels import plain_text
from edgetl_runtime.preprocess import Preprocess, TextPreprocess, parse_preprocess
from edgetl_runtime.text import MAX_TOKENIZER_BYTES
from edgetl_runtime.types import Output, TensorSpec

__all__ = [
    "FORMAT",
    "MAX_MANIFEST_BYTES",
    "MAX_MEMBERS",
    "PROJECTED_STATISTICS",
    "SOURCE_FEATURES",
    "TOKENIZER",
    "Manifest",
    "Member",
    "Variant",
    "check_title",
    "dump_manifest",
    "parse_manifest",
]

FORMAT = (1, 1)
# What head members may hold beside statistics and a head (`HeadMember.carries`).
PROJECTED_STATISTICS = "projected-statistics"
SOURCE_FEATURES = "source-features"
TOKENIZER = "tokenizer.json"
CARRIED = (PROJECTED_STATISTICS, SOURCE_FEATURES)
MAX_MANIFEST_BYTES = 1 << 20
MAX_MEMBER_BYTES = 2 << 30
MAX_CLASSES = 65536
MAX_DIM = 65536
MAX_SEQUENCE = 2**53
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\Z")


@dataclass(frozen=True)
class Member:
    """Size and hash of one file in the bundle."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Variant:
    """One build of the extractor: a graph, its precision, and the head and statistics that belong to it.

    `feature_space` is the sha256 over graph, precision and preprocessing. `feature_tolerance` is the
    largest error of a golden feature, relative to the largest golden feature, that an engine may show.
    """

    name: str
    precision: str
    extractor: str
    head: str
    input: TensorSpec
    features: TensorSpec
    feature_space: str
    feature_tolerance: float

    @property
    def dim(self) -> int:
        """D, the length of a feature vector."""
        return self.features.shape[-1]


@dataclass(frozen=True)
class Manifest:
    """All that a bundle says of itself. `classes` is K labels in the order of the factory head.

    `plans` (format 1.1) maps device profiles, and `ANY_DEVICE`, to the ways to run it, best first. Without plans
    `variants[0]` runs on whatever engine there is. `carries` (format 1.1) says what the head members hold beyond
    statistics and a head: `SOURCE_FEATURES`, for one, are features of some of the very samples of the source.
    `outputs` (format 1.1) are the real numbers that a head gives which has no classes.
    """

    name: str
    sequence: int
    classes: Tuple[str, ...]
    preprocess: Preprocess
    variants: Tuple[Variant, ...]
    members: Dict[str, Member]
    targets: Tuple[str, ...]
    provenance: Dict[str, Any]
    notes: Dict[str, Any]
    plans: Dict[str, Tuple[EngineChoice, ...]] = field(default_factory=dict)
    carries: Tuple[str, ...] = ()
    outputs: Tuple[Output, ...] = ()

    @property
    def format(self) -> Tuple[int, int]:
        """The lowest format that holds it."""
        windowed = getattr(self.preprocess, "window", None) is not None
        text = isinstance(self.preprocess, TextPreprocess)
        return (1, 1) if self.plans or self.carries or self.outputs or windowed or text else (1, 0)

    def plan(self, device: str = ANY_DEVICE) -> Tuple[EngineChoice, ...]:
        """The choices for a device profile, best first: those for any device when it has none of its own.

        () when the bundle has no plans.
        """
        return self.plans.get(device) or self.plans.get(ANY_DEVICE, ())

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises BundleFormatError listing those there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise BundleFormatError(
            f"bundle {self.name!r} has no variant {name!r}; it has {[v.name for v in self.variants]}"
        )


def dump_manifest(manifest: Manifest) -> bytes:
    """The exact bytes that are hashed and signed; raises BundleFormatError when they would not be JSON."""
    data: Dict[str, Any] = {
        "format": list(manifest.format),
        "name": manifest.name,
        "sequence": manifest.sequence,
        "classes": list(manifest.classes),
        "preprocess": manifest.preprocess.to_json(),
        "variants": [
            {
                "name": v.name,
                "precision": v.precision,
                "extractor": v.extractor,
                "head": v.head,
                "input": _dump_spec(v.input),
                "features": _dump_spec(v.features),
                "feature_space": v.feature_space,
                "feature_tolerance": v.feature_tolerance,
            }
            for v in manifest.variants
        ],
        "members": {name: {"size": m.size_bytes, "sha256": m.sha256} for name, m in manifest.members.items()},
        "targets": list(manifest.targets),
        "provenance": manifest.provenance,
        "notes": manifest.notes,
    }
    if manifest.plans:
        data["plans"] = dump_plans(manifest.plans)
    if manifest.carries:
        data["carries"] = list(manifest.carries)
    if manifest.outputs:
        data["outputs"] = dump_outputs(manifest.outputs)
    try:
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleFormatError(
            f"manifest: provenance and notes must be plain JSON data, without NaN or inf: {error}"
        ) from error
    return text.encode("ascii")


def parse_manifest(data: bytes) -> Manifest:
    """The record of those bytes; raises BundleCorruptError (not JSON) or BundleFormatError (not ours)."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleCorruptError(f"manifest.json has {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are read")
    try:
        document = parse_document(data)
    except (ValueError, RecursionError) as error:
        raise BundleCorruptError(f"manifest.json is not the JSON of a manifest: {error}") from error
    top = Fields(document, "manifest")
    version = tuple(top.take_list("format", int))
    if len(version) != 2 or version[0] != FORMAT[0] or version[1] > FORMAT[1] or version[1] < 0:
        raise BundleFormatError(
            f"the bundle has format {'.'.join(map(str, version))}; this edgetl-runtime reads"
            f" {FORMAT[0]}.0 to {FORMAT[0]}.{FORMAT[1]}: install a matching version, or build the bundle again"
        )
    preprocess_data = top.take("preprocess", dict)
    try:
        preprocess = parse_preprocess(preprocess_data)
    except (ValueError, TypeError) as error:
        raise BundleFormatError(f"manifest: preprocess: {error}") from error
    manifest = Manifest(
        name=top.take_name("name", _NAME),
        sequence=top.take_int("sequence", 0, MAX_SEQUENCE),
        classes=tuple(top.take_list("classes", str, MAX_CLASSES)),
        preprocess=preprocess,
        variants=tuple(_variant(v, i) for i, v in enumerate(top.take_list("variants", dict, MAX_MEMBERS))),
        members=_members(top.take("members", dict)),
        targets=tuple(top.take_list("targets", str, MAX_MEMBERS)),
        provenance=top.take("provenance", dict),
        notes=top.take("notes", dict),
        plans=parse_plans(top.take("plans", dict)) if version >= (1, 1) and "plans" in top else {},
        carries=tuple(top.take_list("carries", str)) if version >= (1, 1) and "carries" in top else (),
        outputs=parse_outputs(top.take_list("outputs", dict)) if version >= (1, 1) and "outputs" in top else (),
    )
    top.finish()
    if manifest.format != version:
        raise BundleFormatError(
            f"manifest: it says format {'.'.join(map(str, version))} and has nothing of it; build the bundle again"
        )
    _check(manifest)
    return manifest


def check_title(name: str, sequence: int) -> None:
    """Raises BundleFormatError unless a bundle may have that name and that sequence number."""
    fields = Fields({"name": name, "sequence": sequence}, "bundle")
    fields.take_name("name", _NAME)
    fields.take_int("sequence", 0, MAX_SEQUENCE)


def _variant(data: Any, index: int) -> Variant:
    where = f"manifest: variants[{index}]"
    fields = Fields(data, where)
    tolerance = fields.take("feature_tolerance", float)
    variant = Variant(
        name=fields.take_name("name", MEMBER_NAME),
        precision=fields.take_name("precision", MEMBER_NAME),
        extractor=fields.take_name("extractor", MEMBER_NAME),
        head=fields.take_name("head", MEMBER_NAME),
        input=_spec(fields.take("input", dict), f"{where}: input"),
        features=_spec(fields.take("features", dict), f"{where}: features"),
        feature_space=fields.take_name("feature_space", _SHA256),
        feature_tolerance=tolerance,
    )
    fields.finish()
    if not 0.0 < tolerance <= 1.0:
        raise BundleFormatError(f"{where}: 'feature_tolerance' must be above 0 and at most 1, got {tolerance}")
    shape = variant.features.shape
    if len(shape) != 2 or shape[0] != 1 or shape[1] > MAX_DIM or variant.features.dtype != "float32":
        raise BundleFormatError(f"{where}: features must be float32 of shape (1, D <= {MAX_DIM}), got {shape}")
    return variant


def _spec(data: Any, where: str) -> TensorSpec:
    fields = Fields(data, where)
    spec = TensorSpec(
        name=fields.take_name("name", _NAME),
        dtype=fields.take_name("dtype", MEMBER_NAME),
        shape=tuple(fields.take_list("shape", int, 8)),
    )
    fields.finish()
    if any(not 0 < side <= 1 << 24 for side in spec.shape):
        raise BundleFormatError(f"{where}: every side of a shape must be 1..{1 << 24}, got {spec.shape}")
    return spec


def _dump_spec(spec: TensorSpec) -> Dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _members(data: Mapping[str, Any]) -> Dict[str, Member]:
    if len(data) > MAX_MEMBERS:
        raise BundleFormatError(f"manifest: {len(data)} members; at most {MAX_MEMBERS} are read")
    members = {}
    for name, value in data.items():
        if not MEMBER_NAME.match(name):
            raise BundleFormatError(f"manifest: member name {name[:80]!r} is not of the plain alphabet")
        fields = Fields(value, f"manifest: members[{name!r}]")
        members[name] = Member(fields.take_int("size", 0, MAX_MEMBER_BYTES), fields.take_name("sha256", _SHA256))
        fields.finish()
    return members


def _check(manifest: Manifest) -> None:
    """What no single field can say."""
    if not manifest.variants:
        raise BundleFormatError("manifest: no variants; build the bundle again")
    if len({v.name for v in manifest.variants}) != len(manifest.variants):
        raise BundleFormatError("manifest: two variants share a name")
    if bool(manifest.classes) == bool(manifest.outputs) or len(set(manifest.classes)) != len(manifest.classes):
        raise BundleFormatError(
            "manifest: there are no classes, two share a name, or there are outputs beside them; build the bundle again"
        )
    for name in manifest.classes:
        try:
            plain = plain_text(name, "class")
        except LabelError as error:
            raise BundleFormatError(f"manifest: {error}") from error
        if plain != name:
            raise BundleFormatError(
                f"manifest: the class {name!r} is not in the form {plain!r} in which labels are kept;"
                " build the bundle again"
            )
    if len(set(manifest.carries)) != len(manifest.carries) or not set(manifest.carries) <= set(CARRIED):
        raise BundleFormatError(
            f"manifest: its heads carry {list(manifest.carries)}; this edgetl-runtime knows {list(CARRIED)}:"
            " install a matching version, or build the bundle again"
        )
    needed = {"golden.safetensors", "guard.safetensors"}
    if {"manifest.json", "manifest.sig"} & set(manifest.members):
        raise BundleFormatError("manifest: it names itself or its signature as a member")
    for variant in manifest.variants:
        needed |= {variant.extractor, variant.head}
        if variant.input != manifest.preprocess.input:
            raise BundleFormatError(
                f"manifest: variant {variant.name!r} takes {variant.input}, preprocessing gives"
                f" {manifest.preprocess.input}"
            )
    if isinstance(manifest.preprocess, TextPreprocess):
        needed.add(TOKENIZER)
        _check_tokenizer_member(manifest.members.get(TOKENIZER), manifest.preprocess)
    check_plans(manifest.plans, [variant.name for variant in manifest.variants])
    if needed != set(manifest.members):
        raise BundleFormatError(
            f"manifest: members {sorted(manifest.members)} are not exactly those it names {sorted(needed)}"
        )


def _check_tokenizer_member(member: Optional[Member], preprocess: TextPreprocess) -> None:
    """The tokenizer is part of the preprocessing, and so of the feature space."""
    if member is not None and member.size_bytes > MAX_TOKENIZER_BYTES:
        raise BundleFormatError(
            f"manifest: {TOKENIZER} has {member.size_bytes:,} bytes; at most {MAX_TOKENIZER_BYTES:,} are read"
        )
    if member is None or member.sha256 != preprocess.tokenizer:
        raise BundleFormatError(
            f"manifest: its {TOKENIZER} is not the one that its preprocessing names; build the bundle again"
        )
