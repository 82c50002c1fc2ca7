"""`edgetl inspect`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.bundle import Bundle, read_bundle
from edgetl_runtime.bundle.manifest import SOURCE_FEATURES, dump_manifest
from edgetl_runtime.bundle.signature import key_id
from edgetl_runtime.errors import BundleSignatureError, BundleUnsignedError

from edgetl.key_files import read_public_key

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl inspect birds.edgetl --verify signing.pub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")
    parser.add_argument(
        "--verify", "--trust", metavar="KEY.pub", help="judge the signature by this public key, as a device does"
    )


def run(args: argparse.Namespace) -> int:
    """Check every byte, and print the manifest in words or as JSON."""
    bundle = read_bundle(args.bundle) if args.verify is None else _judged(args.bundle, args.verify)
    if args.json:
        manifest = json.loads(dump_manifest(bundle.manifest))
        signature = {"signature_names": bundle.claims_key, "signed_by": bundle.signed_by}
        print(json.dumps({"id": bundle.id, "size_bytes": bundle.size_bytes, **signature, "manifest": manifest}))
    else:
        print(_text(bundle))
    return 0


def _judged(path: str, key: str) -> Bundle:
    public = read_public_key(key)
    identity = key_id(public)
    try:
        return read_bundle(path, trusted={identity: public}, allow_unsigned=False)
    except (BundleSignatureError, BundleUnsignedError):
        named = read_bundle(path).claims_key  # for the words alone
        if named == identity:
            raise
        whose = "is not signed" if named is None else f"is signed by key {named[:16]!r}, not by {key} ({identity})"
        raise BundleSignatureError(f"{path} {whose}; edgetl sign {path} --key KEY signs it anew") from None


def _signature(bundle: Bundle) -> str:
    if bundle.claims_key is None:
        return "none: a device takes it with --allow-unsigned only"
    if bundle.signed_by is None:
        return f"names key {bundle.claims_key[:16]!r}, not judged here (see --verify)"
    return f"by key {bundle.signed_by}, judged and right"


def _text(bundle: Bundle) -> str:
    manifest = bundle.manifest
    lines = [
        f"{manifest.name}  id {bundle.id[:12]}, format {'.'.join(map(str, manifest.format))},"
        f" sequence {manifest.sequence}, {bundle.size_bytes / 1e6:.1f} MB, every member matches its hash",
        f"  signature   {_signature(bundle)}",
        f"  classes     {len(manifest.classes)}: {', '.join(manifest.classes[:12])}"
        + (" ..." if len(manifest.classes) > 12 else "")
        if manifest.classes
        else f"  numbers     {', '.join(output.name for output in manifest.outputs)}",
        f"  preprocess  {json.dumps(manifest.preprocess.to_json())}",
    ]
    if SOURCE_FEATURES in manifest.carries:
        lines.append("  carries     features of source samples, from which its head is refitted")
    for variant in manifest.variants:
        lines.append(
            f"  variant     {variant.name}: {variant.precision}, input {variant.input.dtype} {variant.input.shape},"
            f" {variant.dim} features, feature space {variant.feature_space[:12]}"
        )
    for name, member in manifest.members.items():
        lines.append(f"  member      {name}  {member.size_bytes / 1e6:.2f} MB")
    for key, value in manifest.provenance.items():
        lines.append(f"  {json.dumps(key)[1:-1]:<11} {json.dumps(value)}")
    return "\n".join(lines)
