"""Bundles and trusted keys in a state folder: verified, then named by content; a cut leaves no half bundle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

from edgetl_runtime.bundle.container import Bundle, read_bundle, remove_file, replace_file, sync_folder
from edgetl_runtime.bundle.signature import key_id, load_public_key
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleError,
    BundleSignatureError,
    SourceError,
    StateError,
    StateFullError,
)

__all__ = ["adopt_bundle", "keep_bundle", "make_state_folder", "open_installed", "trust_key", "trusted_keys"]

_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT
_STAGED = ".staged"


def make_state_folder(folder: Union[str, Path]) -> Path:
    """The state folder, made durably when it is absent; raises StateError when that cannot be."""
    path = Path(folder).absolute()
    try:
        missing = [part for part in (path, *path.parents) if not part.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for part in missing:
            sync_folder(part.parent)
    except OSError as error:
        raise _refused(error, f"cannot use {folder} as a state folder") from error
    return Path(folder)


def trust_key(folder: Path, pem: bytes) -> str:
    """Provision a public key (PEM) on this device; returns its id. Raises BundleSignatureError, StateError."""
    raw = load_public_key(pem)
    keys = make_state_folder(folder / "trusted")
    try:
        replace_file(keys / f"{key_id(raw)}.pub", pem)
    except SourceError as error:
        raise _refused(error.__cause__, f"cannot keep the key in {keys}") from error
    return key_id(raw)


def trusted_keys(folder: Path, more: Sequence[bytes] = ()) -> Dict[str, bytes]:
    """Raw public keys by id: those provisioned in the folder, and `more` in PEM."""
    raw = [load_public_key(pem) for pem in more]
    for path in sorted((folder / "trusted").glob("*.pub")):
        try:
            raw.append(load_public_key(path.read_bytes()))
        except (OSError, BundleSignatureError) as error:
            raise BundleSignatureError(
                f"the trusted key {path} cannot be used ({error}); remove it, or add it again:"
                " edgetl-runtime trust add KEY.pub"
            ) from error
    return {key_id(key): key for key in raw}


def keep_bundle(
    bundle: Bundle, source: Path, folder: Path, trusted: Optional[Dict[str, bytes]], allow_unsigned: bool
) -> None:
    """Keep a private copy of a verified bundle, read from `source`, under its id; `source` may vanish then.

    The copy is verified itself. A copy that is there already stays when it is whole. Raises BundleError,
    SourceError, StateFullError; nothing half-written keeps a name.
    """
    target = _path(folder, bundle.id)
    if target.exists() and _is_whole(target, bundle.id):
        return
    make_state_folder(target.parent)
    staged = target.with_name(_STAGED)  # one name: only the writer of this state installs
    try:
        remove_file(staged)
        with source.open("rb") as reader, staged.open("xb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        if read_bundle(staged, trusted=trusted, allow_unsigned=allow_unsigned).id != bundle.id:
            raise BundleCorruptError(f"{source} changed while it was being installed; try again")
        staged.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise _refused(error, f"cannot install {source} into {folder}") from error
    finally:
        remove_file(staged)


def adopt_bundle(source: Path, folder: Path, bundle_id: Optional[str]) -> str:
    """Copy the bundle installed in the state folder `source`, and its trusted keys, to `folder`; the bundle's id.

    Signatures are judged when `folder` is opened. Raises BundleError, StateError.
    """
    bundle = open_installed(source, bundle_id, None, True)
    keep_bundle(bundle, _path(source, bundle.id), folder, None, True)
    for path in sorted((source / "trusted").glob("*.pub")):
        trust_key(folder, path.read_bytes())
    return bundle.id


def open_installed(
    folder: Path, bundle_id: Optional[str], trusted: Optional[Dict[str, bytes]], allow_unsigned: bool
) -> Bundle:
    """The bundle that a state folder was installed with, verified again; StateError when there is none.

    `bundle_id` None: the state does not know any more (it was damaged), so the newest release that is kept there.
    """
    kept = sorted((folder / "bundles").glob("*.edgetl"))
    if bundle_id is None and not kept:
        raise StateError(
            f"no bundle is installed in {folder}; install one: edgetl-runtime install BUNDLE --state {folder}"
        )
    if bundle_id is None:
        return _newest(kept, trusted, allow_unsigned)
    path = _path(folder, bundle_id)
    if not path.exists():
        raise StateError(
            f"the bundle {bundle_id[:12]} that {folder} was installed with is gone; install it again:"
            f" edgetl-runtime install BUNDLE --state {folder}. What was learnt is kept"
        )
    try:
        bundle = read_bundle(path, trusted=trusted, allow_unsigned=allow_unsigned)
    except BundleCorruptError as error:
        raise BundleCorruptError(
            f"the installed bundle is damaged ({error}); install it again: edgetl-runtime install BUNDLE"
            f" --state {folder}. What was learnt is kept"
        ) from error
    if bundle.id != bundle_id:
        raise BundleCorruptError(
            f"the installed bundle {bundle_id[:12]} was replaced by {bundle.id[:12]}; install it again:"
            f" edgetl-runtime install BUNDLE --state {folder}. What was learnt is kept"
        )
    return bundle


def _newest(kept: List[Path], trusted: Optional[Dict[str, bytes]], allow_unsigned: bool) -> Bundle:
    found = []
    refused: Optional[BundleError] = None
    for path in kept:
        try:
            found.append(read_bundle(path, trusted=trusted, allow_unsigned=allow_unsigned))
        except BundleError as error:
            refused = error
    if not found:
        raise refused if refused is not None else StateError("no bundle is installed")
    return max(found, key=lambda bundle: bundle.manifest.sequence)


def _is_whole(path: Path, bundle_id: str) -> bool:
    try:
        return read_bundle(path).id == bundle_id
    except (BundleError, SourceError):
        return False


def _refused(error: object, what: str) -> StateError:
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) in _NO_SPACE:
        return StateFullError(f"{what}: {reason}; free some space, nothing was changed")
    return StateError(f"{what}: {reason}; nothing was changed")


def _path(folder: Path, bundle_id: str) -> Path:
    return folder / "bundles" / f"{bundle_id}.edgetl"
