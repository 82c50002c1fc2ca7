"""`edgetl-runtime trust`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgetl_runtime.errors import SourceError
from edgetl_runtime.installation import make_state_folder, trust_key, trusted_keys

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime trust add signing.pub --state state/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("action", choices=["add", "list"], help="add a key, or list those that are trusted")
    parser.add_argument("key", nargs="?", help="public key in PEM, as `edgetl keygen` writes it")


def run(args: argparse.Namespace) -> int:
    """Add a key, or list those that are trusted."""
    folder = Path(args.state)
    if args.action == "add":
        if args.key is None:
            raise SourceError("say which key: edgetl-runtime trust add KEY.pub")
        try:
            pem = Path(args.key).read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read the key {args.key}: {error.strerror or error}") from error
        make_state_folder(folder)
        trust_key(folder, pem)
    keys = sorted(trusted_keys(folder))
    if args.json:
        print(json.dumps({"trusted": keys}))
    else:
        print(f"trusted in {folder}: {', '.join(keys) or 'no key'}")
    return 0
