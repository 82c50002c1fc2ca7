"""`edgetl keygen`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from edgetl_runtime.bundle.container import sync_folder
from edgetl_runtime.bundle.signature import key_id, load_public_key
from edgetl_runtime.errors import BundleSignatureError, SourceError

from edgetl.cli.passphrase import ask_twice
from edgetl.key_files import PASSPHRASE_VARIABLE

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl keygen signing   (writes signing.key, to keep secret, and signing.pub, for devices)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("name", help="path without suffix")
    parser.add_argument(
        "--passphrase",
        action="store_true",
        help=f"encrypt the private key; asks at a terminal, or takes {PASSPHRASE_VARIABLE} from the environment",
    )


def run(args: argparse.Namespace) -> int:
    """Write NAME.key (mode 0600) and NAME.pub; never over an existing key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private_path, public_path = Path(f"{args.name}.key"), Path(f"{args.name}.pub")
    for path in (private_path, public_path):
        if path.exists():
            raise SourceError(f"{path} is there already and is not overwritten; choose another name")
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if args.passphrase:
        given = os.environ.get(PASSPHRASE_VARIABLE) or ask_twice(f"passphrase for {private_path}: ")
        if not given:
            raise BundleSignatureError(
                f"no passphrase, or not the same one twice; type it at a terminal, or set {PASSPHRASE_VARIABLE}"
            )
        locked = serialization.BestAvailableEncryption(given.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    for path, data, mode in ((private_path, private, 0o600), (public_path, public, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SourceError(f"cannot write {path}: {error.strerror or error}") from error
    sync_folder(private_path.parent)
    identity = key_id(load_public_key(public))
    if args.json:
        print(json.dumps({"key": str(private_path), "public": str(public_path), "id": identity}))
    else:
        locked_by = "encrypted, " if args.passphrase else ""
        print(f"{private_path} ({locked_by}secret: keep it off devices) and {public_path}, key id {identity}")
        print(f"on each device: edgetl-runtime trust add {public_path}   (--recovery if it will only sign key sets)")
    return 0
