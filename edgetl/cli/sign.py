"""`edgetl sign`."""

from __future__ import annotations

import argparse
import dataclasses
import json

from edgetl_runtime.bundle import read_bundle, write_bundle
from edgetl_runtime.out_files import checked_out

from edgetl.cli.passphrase import ask
from edgetl.key_files import read_private_key

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl sign birds.edgetl --key signing.key --sequence 7 --out birds-7.edgetl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")
    parser.add_argument("--key", required=True, help="private key in PEM (edgetl keygen)")
    parser.add_argument(
        "--sequence", type=int, metavar="N", help="release number, to rise with each release (default: as it was built)"
    )
    parser.add_argument("--out", help="where to write it (default: in place)")


def run(args: argparse.Namespace) -> int:
    """Check every byte of a bundle and sign it; a signature that it had is replaced."""
    out = args.bundle if args.out is None else checked_out(args.out)
    private_pem = read_private_key(args.key, ask)
    bundle = read_bundle(args.bundle)
    sequence = bundle.manifest.sequence if args.sequence is None else args.sequence
    write_bundle(out, dataclasses.replace(bundle.manifest, sequence=sequence), bundle.members, private_pem)
    signed = read_bundle(out)
    if args.json:
        print(json.dumps({"bundle": str(out), "id": signed.id, "sequence": sequence, "key": signed.claims_key}))
    else:
        print(f"{out}  id {signed.id[:12]}, sequence {sequence}, signed by key {signed.claims_key}")
    return 0
