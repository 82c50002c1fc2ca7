"""The golden samples on the engine that serves: a wrong build of it is found before it decides anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.members import GoldenSamples, HeadMember
from edgetl_runtime.errors import BundleCorruptError, BundleParityError, SampleError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.heads import TargetHead
from edgetl_runtime.learner import Learner

__all__ = ["GoldenResult", "check_golden", "run_golden"]

# A number is decided otherwise when it moves by this much of the error that it has anyway.
_SHARE_OF_ERROR = 0.1


@dataclass(frozen=True)
class GoldenResult:
    """How an engine did: largest feature error relative to the largest golden feature, and decisions that differ."""

    max_rel: float
    allowed: float
    differing: int
    samples: int

    @property
    def passed(self) -> bool:
        """Features within the tolerance, and every decision as on the host."""
        return self.max_rel <= self.allowed and not self.differing


def run_golden(bundle: Bundle, extractor: Extractor, member: HeadMember, tolerance: float) -> GoldenResult:
    """Run the golden samples through `extractor` and the factory head; raises BundleParityError, EngineError."""
    manifest, variant = bundle.manifest, extractor.variant
    dims = {v.name: v.dim for v in manifest.variants}
    name = "golden.safetensors"
    golden = GoldenSamples.unpack(bundle.members[name], name, dims, len(manifest.classes))
    expected = golden.features[variant.name]
    try:
        got = np.stack([extractor.features(sample) for sample in golden.samples])
    except SampleError as error:
        raise BundleParityError(f"a golden sample does not go through: {error}; build the bundle again") from error
    if got.shape != expected.shape:
        raise BundleParityError(f"{extractor.description} gives {got.shape[1:]} features, expected {variant.dim}")
    off = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if isinstance(member.factory, TargetHead):
        values = member.factory.decision(got) - member.factory.decision(expected)
        far = ~(np.abs(values) <= _SHARE_OF_ERROR * member.factory.deviation(expected))  # so is what is no number
        return GoldenResult(off, tolerance, int(far.any(axis=1).sum()), len(got))
    wanted = [manifest.classes[i] for i in golden.decisions]
    differing = sum(a != b for a, b in zip(member.factory.predict(got), wanted))
    return GoldenResult(off, tolerance, differing, len(wanted))


def check_golden(bundle: Bundle, extractor: Extractor, member: HeadMember, tolerance: float) -> GoldenResult:
    """The same; raises BundleParityError when it has not passed, BundleCorruptError for a head that cannot learn."""
    result = run_golden(bundle, extractor, member, tolerance)
    if result.max_rel > tolerance:
        raise BundleParityError(
            f"{extractor.description} gives features that are off by {result.max_rel:.2e} of the largest,"
            f" {tolerance:.2e} is allowed: this engine would decide wrongly and is not used."
            " Try another engine or version"
        )
    if result.differing:
        raise BundleParityError(
            f"{extractor.description} decides {result.differing} of {result.samples} golden samples otherwise than the"
            " host did; it is not used. Try another engine or version"
        )
    try:  # learning will fit it again with these very options
        Learner(member).check()
    except (TypeError, ValueError) as error:
        raise BundleCorruptError(  # in whatever engine
            f"the head {member.head!r} cannot be fitted with the bundle's options {str(member.options)[:200]}: {error};"
            " build the bundle again"
        ) from error
    return result
