"""Which keys a device is to trust from now on, signed by a recovery key: rotation and revocation in the field.

A DSSE envelope (github.com/secure-systems-lab/dsse, envelope.md). Each set replaces the one before it and is
signed by a recovery key of that one, as The Update Framework does with its root metadata.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edgetl_runtime.bundle.signature import key_id, sign_payload, verify_payload
from edgetl_runtime.errors import BundleSignatureError

__all__ = ["MAX_TRUST_SET_BYTES", "TrustSet", "sign_trust_set", "verify_trust_set"]

TRUST_TYPE = "application/vnd.edgetl.trust.v1+json"
MAX_TRUST_SET_BYTES = 1 << 16
_MAX_KEYS = 64
_KEY_ID = re.compile(r"[0-9a-f]{16}\Z")


@dataclass(frozen=True)
class TrustSet:
    """Raw public keys by id: `keys` sign bundles, `recovery` keys sign the next set. `revoked` ids never count again.

    `sequence` rises with every set.
    """

    sequence: int
    keys: Dict[str, bytes]
    recovery: Dict[str, bytes]
    revoked: Tuple[str, ...] = ()


def sign_trust_set(trust: TrustSet, private_pem: bytes, passphrase: Optional[bytes] = None) -> bytes:
    """The file that `edgetl-runtime trust rotate` takes; raises BundleSignatureError."""
    payload = json.dumps(
        {
            "sequence": trust.sequence,
            "keys": _encode(trust.keys),
            "recovery": _encode(trust.recovery),
            "revoked": sorted(trust.revoked),
        },
        sort_keys=True,
    ).encode("ascii")
    _parse(payload)  # whatever a device would refuse is refused here
    key, signature = sign_payload(TRUST_TYPE, payload, private_pem, passphrase)
    envelope = {
        "payloadType": TRUST_TYPE,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": key, "sig": signature}],
    }
    data = json.dumps(envelope, indent=1).encode("ascii")
    if len(data) > MAX_TRUST_SET_BYTES:
        raise BundleSignatureError(f"the trust set has {len(data)} bytes; at most {MAX_TRUST_SET_BYTES} are read")
    return data


def verify_trust_set(data: bytes, recovery: Mapping[str, bytes]) -> TrustSet:
    """The set, when one of those recovery keys (id -> raw public key) signed it; raises BundleSignatureError."""
    payload, signatures = _open_envelope(data)
    for key, signature in signatures:
        public = recovery.get(key)
        if public is not None and verify_payload(TRUST_TYPE, payload, signature, public):
            return _parse(payload)
    raise BundleSignatureError(
        "the trust set is not signed by a recovery key of this device (it names"
        f" {', '.join(repr(key[:16]) for key, _ in signatures) or 'no key'}, recovery keys here:"
        f" {', '.join(sorted(recovery)) or 'none'}); nothing was changed"
    )


def _open_envelope(data: bytes) -> Tuple[bytes, List[Tuple[str, str]]]:
    try:
        if len(data) > MAX_TRUST_SET_BYTES:
            raise ValueError(f"{len(data)} bytes")
        envelope = json.loads(data.decode("ascii"))
        if set(envelope) != {"payloadType", "payload", "signatures"} or envelope["payloadType"] != TRUST_TYPE:
            raise ValueError("another type")
        signatures = [(entry["keyid"], entry["sig"]) for entry in envelope["signatures"]]
        if not all(isinstance(part, str) for entry in signatures for part in entry) or len(signatures) > _MAX_KEYS:
            raise ValueError("signatures are not text")
        return base64.b64decode(envelope["payload"], validate=True), signatures
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise BundleSignatureError(
            f"this is no trust set of type {TRUST_TYPE} ({error}); `edgetl trust` writes one"
        ) from error


def _parse(payload: bytes) -> TrustSet:
    try:
        document = json.loads(payload.decode("ascii"))
        if set(document) != {"sequence", "keys", "recovery", "revoked"}:
            raise ValueError(f"its keys are {sorted(document)}")
        sequence, revoked = document["sequence"], document["revoked"]
        if type(sequence) is not int or not 0 < sequence < 2**53:
            raise ValueError(f"its sequence is {sequence!r}")
        if not isinstance(revoked, list) or not all(isinstance(key, str) and _KEY_ID.match(key) for key in revoked):
            raise ValueError(f"revoked must be a list of key ids of 16 hex digits, and is {repr(revoked)[:60]}")
        trust = TrustSet(sequence, _decode(document["keys"]), _decode(document["recovery"]), tuple(revoked))
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise BundleSignatureError(f"the trust set cannot be read: {error}; nothing was changed") from error
    still = sorted(set(revoked) & {*trust.keys, *trust.recovery})
    if still or not trust.recovery:
        raise BundleSignatureError(
            f"the trust set {'both trusts and revokes ' + str(still) if still else 'has no recovery key'};"
            " nothing was changed"
        )
    return trust


def _encode(keys: Mapping[str, bytes]) -> Dict[str, str]:
    return {key: base64.b64encode(raw).decode("ascii") for key, raw in sorted(keys.items())}


def _decode(keys: Any) -> Dict[str, bytes]:
    if not isinstance(keys, dict) or len(keys) > _MAX_KEYS:
        raise ValueError(f"at most {_MAX_KEYS} keys by id are read")
    found = {}
    for key, text in keys.items():
        raw = base64.b64decode(text, validate=True)
        if len(raw) != 32 or key_id(raw) != key:
            raise ValueError(f"the key {key[:16]!r} is not what its id says")
        found[key] = raw
    return found
