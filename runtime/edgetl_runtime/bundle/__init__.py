"""The bundle format: this package owns it, reader and writer both. The host adds nothing to it."""

from __future__ import annotations

from edgetl_runtime.bundle.container import Bundle, read_bundle, write_bundle
from edgetl_runtime.bundle.manifest import FORMAT, Manifest, Member, Variant
from edgetl_runtime.bundle.plans import ANY_DEVICE, EngineChoice
from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors

__all__ = [
    "ANY_DEVICE",
    "FORMAT",
    "Bundle",
    "EngineChoice",
    "Manifest",
    "Member",
    "Variant",
    "pack_tensors",
    "read_bundle",
    "unpack_tensors",
    "write_bundle",
]
