"""`edgetl-runtime trust`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Callable, Iterator, Tuple

from edgetl_runtime.bundle.container import read_bundle
from edgetl_runtime.bundle.signature import key_id, load_public_key
from edgetl_runtime.bundle.trust_set import MAX_TRUST_SET_BYTES
from edgetl_runtime.errors import BundleSignatureError, EdgetlError, SourceError
from edgetl_runtime.installation import installed_path, make_state_folder
from edgetl_runtime.switching import list_installed
from edgetl_runtime.trust import Trust, read_trust, revoke_key, rotate_keys, trust_key

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime trust add signing.pub --state state/"
_NEEDED = {"add": "KEY.pub", "revoke": "KEY.pub or a key id", "rotate": "SET.json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "action",
        choices=["add", "list", "revoke", "rotate"],
        help="add a public key; list what is trusted; revoke a key for good; or take over a signed set of keys",
    )
    parser.add_argument(
        "what", nargs="?", help="add: KEY.pub; revoke: KEY.pub or a key id; rotate: SET.json of `edgetl trust`"
    )
    parser.add_argument("--recovery", action="store_true", help="with add: it signs later sets, not bundles")


def run(args: argparse.Namespace) -> int:
    """Provision, rotate, revoke or list keys."""
    folder = Path(args.state)
    if args.action != "list":
        if args.what is None:
            raise SourceError(f"say what to {args.action}: {_NEEDED[args.action]}; for example: {EXAMPLE}")
        make_state_folder(folder)
    if args.action == "add":
        _named(args.what, lambda pem: trust_key(folder, pem, recovery=args.recovery))
    elif args.action == "revoke":
        is_file = args.what.endswith(".pub")
        revoke_key(folder, _named(args.what, lambda pem: key_id(load_public_key(pem))) if is_file else args.what)
    elif args.action == "rotate":
        rotate_keys(folder, _read(args.what))
    trust = read_trust(folder)
    if args.json:
        print(
            json.dumps(
                {
                    "trusted": sorted(trust.keys),
                    "recovery": sorted(trust.recovery),
                    "revoked": sorted(trust.revoked),
                    "sequence": trust.sequence,
                }
            )
        )
        return 0
    print(f"trusted in {folder}: {', '.join(sorted(trust.keys)) or 'no key'}")
    if trust.recovery:
        print(f"  recovery keys, which sign the next set: {', '.join(sorted(trust.recovery))}")
    if trust.revoked:
        print(f"  revoked: {', '.join(sorted(trust.revoked))}")
    if trust.sequence:
        print(f"  as trust set {trust.sequence} says")
    for name, key in _shut_out(folder, trust):
        print(f"  the installed bundle {name} is signed by {key}, which is not trusted any more, and opens no more:")
        print("  install it again, signed by a trusted key (edgetl sign); what was learnt is kept")
    return 0


def _shut_out(folder: Path, trust: Trust) -> Iterator[Tuple[str, str]]:
    """Installed bundles whose signature does not count here, with the key that it names."""
    for one in list_installed(folder):
        try:
            key = read_bundle(installed_path(folder, one.id)).claims_key
        except EdgetlError:
            continue
        if key is not None and key not in trust.keys:
            yield one.name, key


def _named(path: str, take: Callable[[bytes], str]) -> str:
    """What `take` makes of the key in that file; where it is none, the message names the file."""
    try:
        return take(_read(path))
    except BundleSignatureError as error:
        raise BundleSignatureError(f"{path}: {error}") from error


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_TRUST_SET_BYTES + 1)
    except OSError as error:
        raise SourceError(f"cannot read the key or set {path}: {error.strerror or error}") from error
