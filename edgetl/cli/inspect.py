"""`edgetl inspect`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.bundle import Bundle, read_bundle
from edgetl_runtime.bundle.manifest import dump_manifest

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl inspect birds.edgetl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")


def run(args: argparse.Namespace) -> int:
    """Check every byte, and print the manifest in words or as JSON."""
    bundle = read_bundle(args.bundle)
    if args.json:
        manifest = json.loads(dump_manifest(bundle.manifest))
        print(json.dumps({"id": bundle.id, "size_bytes": bundle.size_bytes, "manifest": manifest}))
    else:
        print(_text(bundle))
    return 0


def _text(bundle: Bundle) -> str:
    manifest = bundle.manifest
    lines = [
        f"{manifest.name}  id {bundle.id[:12]}, format {'.'.join(map(str, manifest.format))},"
        f" sequence {manifest.sequence}, {bundle.size_bytes / 1e6:.1f} MB, every member matches its hash",
        f"  classes     {len(manifest.classes)}: {', '.join(manifest.classes[:12])}"
        + (" ..." if len(manifest.classes) > 12 else ""),
        f"  preprocess  {json.dumps(manifest.preprocess.to_json())}",
    ]
    for variant in manifest.variants:
        lines.append(
            f"  variant     {variant.name}: {variant.precision}, input {variant.input.dtype} {variant.input.shape},"
            f" {variant.dim} features, feature space {variant.feature_space[:12]}"
        )
    for name, member in manifest.members.items():
        lines.append(f"  member      {name}  {member.size_bytes / 1e6:.2f} MB")
    for key, value in manifest.provenance.items():
        lines.append(f"  {key:<11} {json.dumps(value)}")
    return "\n".join(lines)
