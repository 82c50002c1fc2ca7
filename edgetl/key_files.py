"""Key files on the host: private ones opened by their passphrase, in memory only, and public ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edgetl_runtime.bundle.signature import load_private_key, load_public_key
from edgetl_runtime.errors import BundleSignatureError, EngineUnavailableError, SourceError

__all__ = ["PASSPHRASE_VARIABLE", "read_private_key", "read_public_key"]

PASSPHRASE_VARIABLE = "EDGETL_PASSPHRASE"


def read_private_key(path: str | Path, ask: Callable[[str], str] | None = None) -> bytes:
    """The private key at `path` in PEM without passphrase, for use in memory only.

    A key with a passphrase is opened by the environment's EDGETL_PASSPHRASE, else by what `ask` returns.
    Raises SourceError, BundleSignatureError.
    """
    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the key {path}: {error.strerror or error}; make one: edgetl keygen") from error
    passphrase: bytes | None = None
    if b"ENCRYPTED" in pem:
        given = os.environ.get(PASSPHRASE_VARIABLE) or (ask(f"passphrase of {path}: ") if ask is not None else "")
        if not given:
            raise BundleSignatureError(
                f"the key {path} has a passphrase: set {PASSPHRASE_VARIABLE}, or run the command at a terminal"
            )
        passphrase = given.encode()
    try:
        key = load_private_key(pem, passphrase)
    except BundleSignatureError as error:
        raise BundleSignatureError(f"{path}: {error}") from error
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise EngineUnavailableError(f"signatures need the package cryptography ({error})") from error
    plain: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return plain


def read_public_key(path: str | Path) -> bytes:
    """The raw public key (32 bytes) in the PEM file at `path`; raises SourceError, BundleSignatureError."""
    try:
        return load_public_key(Path(path).read_bytes())
    except OSError as error:
        raise SourceError(f"cannot read the key {path}: {error.strerror or error}") from error
    except BundleSignatureError as error:
        raise BundleSignatureError(f"{path}: {error}") from error
