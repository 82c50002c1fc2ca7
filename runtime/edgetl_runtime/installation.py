"""Bundles and trusted keys in a state folder: staged, verified, then named by content; a cut leaves no half bundle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Dict, Optional, Sequence, Union

from edgetl_runtime.bundle.container import Bundle, read_bundle, replace_file, sync_folder
from edgetl_runtime.bundle.signature import key_id, load_public_key
from edgetl_runtime.errors import BundleCorruptError, StateError, StateFullError

__all__ = ["install_bundle", "make_state_folder", "open_installed", "trust_key", "trusted_keys"]

_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


def make_state_folder(folder: Union[str, Path]) -> Path:
    """The state folder, made when it is absent; raises StateError when that cannot be."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot use {path} as a state folder: {error.strerror or error}") from error
    return path


def trust_key(folder: Path, pem: bytes) -> str:
    """Provision a public key (PEM) on this device; returns its id. Raises BundleSignatureError."""
    raw = load_public_key(pem)
    keys = make_state_folder(folder / "trusted")
    replace_file(keys / f"{key_id(raw)}.pub", pem)
    return key_id(raw)


def trusted_keys(folder: Path, more: Sequence[bytes] = ()) -> Dict[str, bytes]:
    """Raw public keys by id: those provisioned in the folder, and `more` in PEM."""
    stored = [path.read_bytes() for path in sorted((folder / "trusted").glob("*.pub"))]
    raw = [load_public_key(pem) for pem in [*stored, *more]]
    return {key_id(key): key for key in raw}


def install_bundle(source: Path, folder: Path, trusted: Dict[str, bytes], allow_unsigned: bool) -> Bundle:
    """Verify a bundle and keep a private copy of it under its id; returns the verified bundle.

    The bytes that are returned and the copy were both checked; `source` may vanish afterwards. Raises
    BundleError, SourceError, StateFullError; nothing half-written keeps a name.
    """
    bundle = read_bundle(source, trusted=trusted, allow_unsigned=allow_unsigned)
    target = _path(folder, bundle.id)
    if target.exists():
        return bundle
    make_state_folder(target.parent)
    staged = target.with_name(f".staged-{os.getpid()}")
    try:
        with source.open("rb") as reader, staged.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        if read_bundle(staged, trusted=trusted, allow_unsigned=allow_unsigned).id != bundle.id:
            raise BundleCorruptError(f"{source} changed while it was being installed; try again")
        staged.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StateFullError(
                f"no room in {folder} to install {source}; free some space, nothing changed"
            ) from error
        raise StateError(f"cannot install into {folder}: {error.strerror or error}") from error
    finally:
        if staged.exists():
            staged.unlink()
    return bundle


def open_installed(folder: Path, bundle_id: Optional[str], trusted: Dict[str, bytes], allow_unsigned: bool) -> Bundle:
    """The bundle that a state folder was installed with, verified again; StateError when there is none."""
    if bundle_id is None:
        raise StateError(
            f"no bundle is installed in {folder}; install one: edgetl-runtime install BUNDLE --state {folder}"
        )
    bundle = read_bundle(_path(folder, bundle_id), trusted=trusted, allow_unsigned=allow_unsigned)
    if bundle.id != bundle_id:
        raise BundleCorruptError(f"the installed bundle {bundle_id[:12]} was changed; install it again")
    return bundle


def _path(folder: Path, bundle_id: str) -> Path:
    return folder / "bundles" / f"{bundle_id}.edgetl"
