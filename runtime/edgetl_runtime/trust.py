"""The keys that this device trusts: provisioned once, rotated by signed sets, revoked for good."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Set

from edgetl_runtime.bundle.container import replace_file
from edgetl_runtime.bundle.signature import key_id, load_public_key
from edgetl_runtime.bundle.trust_set import MAX_TRUST_SET_BYTES, TrustSet, verify_trust_set
from edgetl_runtime.errors import BundleSignatureError, SourceError, StateError
from edgetl_runtime.installation import make_state_folder, named_files, state_refused

__all__ = ["Trust", "read_trust", "revoke_key", "rotate_keys", "trust_key", "trusted_keys"]

FOLDER = "trusted"
_ID = re.compile(r"[0-9a-f]{16}\Z")
_MAX_SETS = 256


class Trust(NamedTuple):
    """Raw public keys by id: those that sign bundles, and those that sign the next trust set.

    `sequence` is that of the trust set in force, 0 while only provisioned keys count.
    """

    keys: Dict[str, bytes]
    recovery: Dict[str, bytes]
    revoked: Set[str]
    sequence: int


def trust_key(folder: Path, pem: bytes, *, recovery: bool = False) -> str:
    """Provision a public key (PEM) on this device; returns its id. Raises BundleSignatureError, StateError."""
    raw = load_public_key(pem)
    known = read_trust(folder)
    identity = key_id(raw)
    if identity in known.revoked:
        raise BundleSignatureError(f"the key {identity} was revoked on this device and is not trusted again")
    if known.sequence:
        raise BundleSignatureError(
            f"trust set {known.sequence} says which keys count here; sign a new one with a recovery key"
            " (edgetl trust) and bring it: edgetl-runtime trust rotate SET.json"
        )
    _keep(folder, f"{identity}.{'recovery' if recovery else 'pub'}", pem)
    return identity


def revoke_key(folder: Path, identity: str) -> None:
    """Never trust that key id again on this device. Raises BundleSignatureError, StateError."""
    if not _ID.match(identity):
        raise BundleSignatureError(f"{identity[:32]!r} is no key id of 16 hex digits; see `edgetl-runtime trust list`")
    _keep(folder, f"{identity}.revoked", b"")


def rotate_keys(folder: Path, data: bytes) -> Trust:
    """Put a signed trust set in force; raises BundleSignatureError, StateError, and then nothing changed."""
    known = read_trust(folder)
    trust = verify_trust_set(data, known.recovery)
    if trust.sequence <= known.sequence:
        raise BundleSignatureError(
            f"trust set {trust.sequence} is not newer than {known.sequence}, which is in force; nothing was changed"
        )
    if len(_sets(folder)) >= _MAX_SETS:
        raise BundleSignatureError(f"{_MAX_SETS} trust sets came to this device already; provision it anew")
    _keep(folder, f"set-{trust.sequence:016d}.json", data)
    return read_trust(folder)


def trusted_keys(folder: Path, more: Sequence[bytes] = ()) -> Dict[str, bytes]:
    """Raw public keys that may sign a bundle, by id: those of this device, and `more` in PEM."""
    known = read_trust(folder)
    given = {key_id(raw): raw for raw in (load_public_key(pem) for pem in more)}
    return {key: raw for key, raw in {**known.keys, **given}.items() if key not in known.revoked}


def read_trust(folder: Path) -> Trust:
    """What this device trusts now; every trust set since its provisioning is verified again, in order."""
    keys, recovery = _provisioned(folder, "pub"), _provisioned(folder, "recovery")
    revoked = {path.stem for path in named_files(folder / FOLDER, "*.revoked")}
    sequence = 0
    for path in _sets(folder):
        trust = _read_set(path, recovery)
        if trust.sequence <= sequence:
            raise BundleSignatureError(f"the trust set {path} does not follow {sequence}; provision this device anew")
        keys, recovery, sequence = trust.keys, trust.recovery, trust.sequence
        revoked.update(trust.revoked)
    return Trust(
        {key: raw for key, raw in keys.items() if key not in revoked},
        {key: raw for key, raw in recovery.items() if key not in revoked},
        revoked,
        sequence,
    )


def _read_set(path: Path, recovery: Dict[str, bytes]) -> TrustSet:
    try:
        with path.open("rb") as file:
            return verify_trust_set(file.read(MAX_TRUST_SET_BYTES + 1), recovery)
    except (OSError, BundleSignatureError) as error:
        raise BundleSignatureError(f"the trust set {path} cannot be used: {error}") from error


def _sets(folder: Path) -> List[Path]:
    return named_files(folder / FOLDER, "set-*.json")


def _provisioned(folder: Path, suffix: str) -> Dict[str, bytes]:
    found = {}
    for path in named_files(folder / FOLDER, f"*.{suffix}"):
        try:
            raw = load_public_key(path.read_bytes())
        except (OSError, BundleSignatureError) as error:
            raise BundleSignatureError(
                f"the trusted key {path} cannot be used ({error}); remove it, or add it again:"
                " edgetl-runtime trust add KEY.pub"
            ) from error
        found[key_id(raw)] = raw
    return found


def _keep(folder: Path, name: str, data: bytes) -> None:
    keys = make_state_folder(folder / FOLDER)
    try:
        replace_file(keys / name, data)
    except SourceError as error:
        refused: StateError = state_refused(error.__cause__, f"cannot keep {name} in {keys}")
        raise refused from error
