"""Ed25519 over exact bytes, with a type string so that a signature means one thing only.

The signed message is the pre-authentication encoding of DSSE (github.com/secure-systems-lab/dsse,
protocol.md): lengths and type before the bytes, so nothing can be cut or glued.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any, Dict, Mapping, Optional, Tuple

from edgetl_runtime.errors import BundleSignatureError, EngineUnavailableError

__all__ = [
    "MAX_SIGNATURE_BYTES",
    "key_id",
    "load_private_key",
    "load_public_key",
    "named_key",
    "sign_manifest",
    "sign_payload",
    "verify_manifest",
    "verify_payload",
]

PAYLOAD_TYPE = "application/vnd.edgetl.manifest.v1+json"
MAX_SIGNATURE_BYTES = 4096


def key_id(public_key: bytes) -> str:
    """The name of a raw 32-byte public key: the first 16 hex digits of its sha256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def load_public_key(pem: bytes) -> bytes:
    """The raw 32 bytes of an Ed25519 public key in PEM; raises BundleSignatureError."""
    serialization = _cryptography().serialization
    ed25519 = _cryptography().ed25519
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, _cryptography().UnsupportedAlgorithm) as error:
        raise BundleSignatureError(
            f"not a public key in PEM ({str(error).split('. ')[0]}); `edgetl keygen` writes one as NAME.pub"
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise BundleSignatureError(f"the key is {type(key).__name__}, not Ed25519; `edgetl keygen` writes one")
    return bytes(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def load_private_key(pem: bytes, passphrase: Optional[bytes] = None) -> Any:
    """The Ed25519 private key in PEM, opened by its passphrase when it has one; raises BundleSignatureError."""
    modules = _cryptography()
    try:
        key = modules.serialization.load_pem_private_key(pem, password=passphrase)
    except (ValueError, TypeError, modules.UnsupportedAlgorithm) as error:
        raise BundleSignatureError(
            f"this private key cannot be opened ({str(error).split('. ')[0]}): it must be PEM, as `edgetl keygen`"
            f" writes NAME.key, with {'its right' if passphrase else 'no'} passphrase"
        ) from error
    if not isinstance(key, modules.ed25519.Ed25519PrivateKey):
        raise BundleSignatureError(f"the key is {type(key).__name__}, not Ed25519; `edgetl keygen` writes one")
    return key


def sign_payload(kind: str, payload: bytes, private_pem: bytes, passphrase: Optional[bytes] = None) -> Tuple[str, str]:
    """Id of the key, and its signature in base64, over a payload of that type; raises BundleSignatureError."""
    key = load_private_key(private_pem, passphrase)
    serialization = _cryptography().serialization
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return key_id(public), base64.b64encode(key.sign(_encoded(kind, payload))).decode("ascii")


def verify_payload(kind: str, payload: bytes, signature: str, public: bytes) -> bool:
    """Did the owner of that raw public key sign those bytes as that type?"""
    modules = _cryptography()
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode("ascii") != signature:
            return False  # the last digit of base64 has bits to spare
        modules.ed25519.Ed25519PublicKey.from_public_bytes(public).verify(raw, _encoded(kind, payload))
    except (modules.InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def sign_manifest(manifest: bytes, private_pem: bytes, passphrase: Optional[bytes] = None) -> bytes:
    """The content of `manifest.sig` for those manifest bytes; raises BundleSignatureError on a wrong key."""
    return _claim(*sign_payload(PAYLOAD_TYPE, manifest, private_pem, passphrase))


def named_key(signature: bytes) -> str:
    """The id of the key that a signature names, without judging it; raises BundleSignatureError."""
    return _parse(signature)["key"]


def verify_manifest(manifest: bytes, signature: bytes, trusted: Mapping[str, bytes]) -> str:
    """The id of the trusted key (id -> raw public key) that signed those bytes; raises BundleSignatureError."""
    claim = _parse(signature)
    public = trusted.get(claim["key"])
    if public is None:
        raise BundleSignatureError(
            f"the bundle is signed by key {claim['key'][:16]}, which this device does not trust"
            f" (trusted: {', '.join(sorted(trusted)) or 'no key'}): it was never added (edgetl-runtime trust add"
            " KEY.pub), or it was revoked: then sign the bundle with another key (edgetl sign)"
        )
    if not verify_payload(PAYLOAD_TYPE, manifest, claim["signature"], public):
        raise BundleSignatureError("the signature does not fit the manifest: the bundle was changed; refuse it")
    return str(claim["key"])


def _parse(signature: bytes) -> Dict[str, str]:
    try:
        claim = json.loads(signature.decode("ascii")) if len(signature) <= MAX_SIGNATURE_BYTES else None
    except (ValueError, RecursionError):
        claim = None
    if (
        not isinstance(claim, dict)
        or set(claim) != {"type", "key", "signature"}
        or not all(isinstance(value, str) for value in claim.values())
        or claim["type"] != PAYLOAD_TYPE
        or _claim(claim["key"], claim["signature"]) != signature  # one way to write it
    ):
        raise BundleSignatureError(f"manifest.sig is not a signature of type {PAYLOAD_TYPE}")
    return claim


def _claim(key: str, signature: str) -> bytes:
    return json.dumps({"type": PAYLOAD_TYPE, "key": key, "signature": signature}).encode("ascii")


def _encoded(kind: str, payload: bytes) -> bytes:
    name = kind.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


class _Cryptography:
    def __init__(self) -> None:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519

        self.InvalidSignature = InvalidSignature
        self.UnsupportedAlgorithm = UnsupportedAlgorithm
        self.serialization: Any = serialization
        self.ed25519: Any = ed25519


def _cryptography() -> _Cryptography:
    """Loaded only when a signature is made or checked."""
    try:
        return _Cryptography()
    except ImportError as error:
        raise EngineUnavailableError(
            f"signatures need the package cryptography ({error}): pip install 'edgetl-runtime[sign]'"
        ) from error
