"""Bundles in a state folder: verified, then named by content; a cut leaves no half bundle."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

from edgetl_runtime.bundle.container import Bundle, open_plain, read_bundle, remove_file, replace_file, sync_folder
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleError,
    SourceError,
    StateError,
    StateFullError,
)

__all__ = [
    "adopt_bundle",
    "copy_words",
    "installed_path",
    "keep_bundle",
    "make_state_folder",
    "named_files",
    "open_installed",
    "remove_others",
    "state_refused",
    "sweep_leftovers",
]

_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT
_STAGED = ".staged"
_OF_TRUST = (".pub", ".recovery", ".revoked", ".json")
_MOST_TRUST_BYTES = 1 << 16


def make_state_folder(folder: Union[str, Path]) -> Path:
    """The state folder, made durably when it is absent; raises StateError when that cannot be."""
    path = Path(folder).absolute()
    try:
        missing = [part for part in (path, *path.parents) if not part.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for part in missing:
            sync_folder(part.parent)
    except OSError as error:
        raise state_refused(error, f"cannot use {folder} as a state folder") from error
    return Path(folder)


def named_files(folder: Path, pattern: str) -> List[Path]:
    """Files of a folder whose names match, in order; none where there is no folder. Raises StateError.

    `Path.glob` would take a folder that cannot be read for an empty one.
    """
    try:
        return sorted(path for path in folder.iterdir() if fnmatch.fnmatchcase(path.name, pattern))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise state_refused(error, f"cannot read {folder}") from error


def sweep_leftovers(folder: Path) -> None:
    """Remove what a cut left of files that never got their name; only the writer of this state may."""
    with contextlib.suppress(OSError, StateError):
        remove_file(folder / "bundles" / _STAGED)
        for path in [*named_files(folder / "trusted", ".*.tmp"), *named_files(folder, ".*.tmp")]:
            number = path.name[1:-4]
            # Keys are brought by a process of its own, which may be doing so now.
            if not (number.isdecimal() and Path(f"/proc/{number}").exists()):
                remove_file(path)


def keep_bundle(
    bundle: Bundle, source: Path, folder: Path, trusted: Optional[Dict[str, bytes]], allow_unsigned: bool,
    known: Optional[str] = None,
) -> None:  # fmt: skip
    """Keep a private copy of a verified bundle, read from `source`, under its id; `source` may vanish then.

    The copy is verified itself. A copy that is there already stays when it is whole: that is read and hashed again
    unless `known`, the `copy_words` when that was done last, still holds. It is verified whenever it is opened.
    Raises BundleError, SourceError, StateFullError; nothing half-written keeps a name.
    """
    target = installed_path(folder, bundle.id)
    if known is not None and known == copy_words(folder, bundle):
        return
    if target.exists() and _is_the_same(target, bundle, trusted):
        return
    make_state_folder(target.parent)
    staged = target.with_name(_STAGED)  # one name: only the writer of this state installs
    try:
        remove_file(staged)
        with open_plain(source) as reader, staged.open("xb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
        if read_bundle(staged, trusted=trusted, allow_unsigned=allow_unsigned).id != bundle.id:
            raise BundleCorruptError(f"{source} changed while it was being installed; try again")
        staged.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise state_refused(error, f"cannot install {source} into {folder}") from error
    finally:
        with contextlib.suppress(OSError):  # the next start sweeps it
            remove_file(staged)


def copy_words(folder: Path, bundle: Bundle) -> str:
    """What a kept copy looks like from outside: whose signature, size, time, file number; "" when there is none."""
    try:
        found = installed_path(folder, bundle.id).stat()
    except OSError:
        return ""
    return f"{bundle.id} {bundle.claims_key} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def remove_others(folder: Path, ids: Sequence[str]) -> None:
    """Remove every kept copy but those; what cannot be removed now goes with a later installation."""
    for path in named_files(folder / "bundles", "*.edgetl"):
        if path.stem not in ids:
            with contextlib.suppress(OSError):
                remove_file(path)


def adopt_bundle(source: Path, folder: Path, bundle_id: Optional[str]) -> Bundle:
    """Copy the bundle installed in the state folder `source`, and all that it trusts, to `folder`.

    Signatures are judged when `folder` is opened. Raises BundleError, StateError, OSError.
    """
    bundle = open_installed(source, bundle_id, None, True)
    keep_bundle(bundle, installed_path(source, bundle.id), folder, None, True)
    for path in named_files(source / "trusted", "[!.]*"):
        if path.suffix not in _OF_TRUST:
            continue
        with open_plain(path) as file:  # whoever made that folder may have made a pipe, or a link to anything
            data = file.read(_MOST_TRUST_BYTES + 1)
        if len(data) > _MOST_TRUST_BYTES:
            raise StateError(f"{path} has more than {_MOST_TRUST_BYTES:,} bytes: it is no key and no set of keys")
        replace_file(make_state_folder(folder / "trusted") / path.name, data)
    return bundle


def open_installed(
    folder: Path, bundle_id: Optional[str], trusted: Optional[Dict[str, bytes]], allow_unsigned: bool,
    aside: Sequence[str] = (),
) -> Bundle:  # fmt: skip
    """The bundle that a state folder was installed with, verified again; StateError when there is none.

    `bundle_id` None: the state does not know any more (it was damaged), so the newest release that is kept there; one
    of those `aside`, which are in use by other states of the folder, only when there is no other.
    """
    kept = named_files(folder / "bundles", "*.edgetl")
    kept = [path for path in kept if path.stem not in aside] or kept
    if bundle_id is None and not kept:
        raise StateError(
            f"no bundle is installed in {folder}; install one: edgetl-runtime install BUNDLE --state {folder}"
        )
    if bundle_id is None:
        return _newest(kept, trusted, allow_unsigned)
    path = installed_path(folder, bundle_id)
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


def _is_the_same(path: Path, bundle: Bundle, trusted: Optional[Dict[str, bytes]]) -> bool:
    try:
        kept = read_bundle(path, trusted=trusted)
        # Signed by another key it takes the place of what a revoked key had signed; unsigned, only of that.
        return kept.id == bundle.id and bundle.claims_key in (None, kept.claims_key)
    except (BundleError, SourceError):
        return False


def state_refused(error: object, what: str) -> StateError:
    """The StateError for a file that could not be written: StateFullError when there is no room."""
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) in _NO_SPACE:
        return StateFullError(f"{what}: {reason}; free some space, nothing was changed")
    return StateError(f"{what}: {reason}; nothing was changed")


def installed_path(folder: Path, bundle_id: str) -> Path:
    """Where the copy of a bundle is kept in a state folder."""
    return folder / "bundles" / f"{bundle_id}.edgetl"
