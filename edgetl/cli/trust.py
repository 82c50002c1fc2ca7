"""`edgetl trust`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.bundle.container import replace_file
from edgetl_runtime.bundle.signature import key_id
from edgetl_runtime.bundle.trust_set import TrustSet, sign_trust_set
from edgetl_runtime.out_files import checked_out

from edgetl.cli.passphrase import ask
from edgetl.key_files import read_private_key, read_public_key

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl trust set-2.json --sequence 2 --keys new.pub --recovery recovery.pub --revoke old.pub --key recovery.key"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("out", help="the file to write, for: edgetl-runtime trust rotate FILE")
    parser.add_argument("--keys", nargs="*", default=[], metavar="KEY.pub", help="keys that may sign bundles then")
    parser.add_argument(
        "--recovery",
        nargs="+",
        required=True,
        metavar="KEY.pub",
        help="keys that may sign the next set; keep them offline",
    )
    parser.add_argument(
        "--revoke", nargs="*", default=[], metavar="KEY", help="keys that are never trusted again: KEY.pub, or key ids"
    )
    parser.add_argument("--sequence", type=int, required=True, help="1, then higher with every set")
    parser.add_argument("--key", required=True, help="private recovery key that devices know now")


def run(args: argparse.Namespace) -> int:
    """Sign the set of keys that devices are to trust from now on."""
    revoked = tuple(one for key in args.revoke for one in (_public([key]) if key.endswith(".pub") else [key]))
    trust = TrustSet(args.sequence, _public(args.keys), _public(args.recovery), revoked)
    out = checked_out(args.out)
    replace_file(out, sign_trust_set(trust, read_private_key(args.key, ask)))
    if args.json:
        print(
            json.dumps(
                {
                    "file": str(out),
                    "sequence": trust.sequence,
                    "keys": sorted(trust.keys),
                    "recovery": sorted(trust.recovery),
                    "revoked": sorted(trust.revoked),
                }
            )
        )
    else:
        print(f"{out}: trust set {trust.sequence}, which says all that counts from then on")
        print(f"  keys      {', '.join(sorted(trust.keys)) or 'none'}")
        print(f"  recovery  {', '.join(sorted(trust.recovery))}")
        print(f"  revoked   {', '.join(sorted(trust.revoked)) or 'none'}")
        print(f"on each device: edgetl-runtime trust rotate {out}")
    return 0


def _public(paths: list[str]) -> dict[str, bytes]:
    return {key_id(raw): raw for raw in map(read_public_key, paths)}
