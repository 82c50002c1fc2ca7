"""A signature means: these manifest bytes, by that key, as an edgetl manifest. Nothing less is accepted."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.container import write_bundle
from edgetl_runtime.bundle.manifest import dump_manifest
from edgetl_runtime.bundle.signature import (
    MAX_SIGNATURE_BYTES,
    PAYLOAD_TYPE,
    key_id,
    load_public_key,
    sign_manifest,
    verify_manifest,
)
from edgetl_runtime.errors import BundleSignatureError

from tests.runtime import golden

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
MANIFEST = dump_manifest(golden.bundle().manifest)


def key_pair(seed: int) -> Tuple[bytes, bytes, Dict[str, bytes]]:
    """Private PEM, public PEM, and the trust in it."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    raw = load_public_key(public)
    return private, public, {key_id(raw): raw}


PRIVATE, PUBLIC, TRUST = key_pair(1)
OTHER, _, OTHER_TRUST = key_pair(2)


def test_what_was_signed_is_verified_by_its_key_only() -> None:
    signature = sign_manifest(MANIFEST, PRIVATE)
    assert verify_manifest(MANIFEST, signature, {**OTHER_TRUST, **TRUST}) in TRUST
    for trust in ({}, OTHER_TRUST):
        with pytest.raises(BundleSignatureError, match="trust add"):
            verify_manifest(MANIFEST, signature, trust)


def test_a_key_cannot_be_passed_off_under_the_id_of_another() -> None:
    signature = sign_manifest(MANIFEST, OTHER)
    claim = json.loads(signature)
    claim["key"] = next(iter(TRUST))
    with pytest.raises(BundleSignatureError, match="does not fit"):
        verify_manifest(MANIFEST, json.dumps(claim).encode(), TRUST)


def test_no_changed_byte_of_manifest_or_signature_passes() -> None:
    signature = sign_manifest(MANIFEST, PRIVATE)
    for place in range(0, len(MANIFEST), 7):
        changed = bytearray(MANIFEST)
        changed[place] ^= 1
        with pytest.raises(BundleSignatureError):
            verify_manifest(bytes(changed), signature, TRUST)
    passed = 0
    for place in range(len(signature)):
        for mask in (1, 0x20, 0x80):
            altered = bytearray(signature)
            altered[place] ^= mask
            try:
                verify_manifest(MANIFEST, bytes(altered), TRUST)
                passed += 1
                assert json.loads(bytes(altered)) == json.loads(signature)
            except BundleSignatureError:
                pass
    assert passed < 20  # white space between the keys


def test_a_signature_over_the_bare_bytes_or_for_another_purpose_is_refused() -> None:
    key = serialization.load_pem_private_key(PRIVATE, password=None)
    for message in (MANIFEST, b"DSSEv1 4 text %d " % len(MANIFEST) + MANIFEST):
        claim = {
            "type": PAYLOAD_TYPE,
            "key": next(iter(TRUST)),
            "signature": base64.b64encode(key.sign(message)).decode(),
        }
        with pytest.raises(BundleSignatureError, match="does not fit"):
            verify_manifest(MANIFEST, json.dumps(claim).encode(), TRUST)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{}",
        b"[" * 3000,
        b'{"type": 1, "key": 2, "signature": 3}',
        json.dumps({"type": PAYLOAD_TYPE + "2", "key": "0", "signature": ""}).encode(),
        json.dumps({"type": PAYLOAD_TYPE, "key": "0", "signature": "", "more": ""}).encode(),
        json.dumps({"type": PAYLOAD_TYPE, "key": next(iter(TRUST)), "signature": "no base64!"}).encode(),
        json.dumps({"type": PAYLOAD_TYPE, "key": next(iter(TRUST)), "signature": ""}).encode(),
        b" " * (MAX_SIGNATURE_BYTES + 1),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_anything_else_is_no_signature(signature: bytes) -> None:
    with pytest.raises(BundleSignatureError):
        verify_manifest(MANIFEST, signature, TRUST)


def _pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def test_keys_of_another_kind_are_named() -> None:
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    other = ec.generate_private_key(ec.SECP256R1())
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    locked = serialization.load_pem_private_key(PRIVATE, password=None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for private in (b"", b"rubbish", PUBLIC, locked, _pem(other)):
        with pytest.raises(BundleSignatureError, match="keygen"):
            sign_manifest(MANIFEST, private)
    for pem in (b"", b"rubbish", PRIVATE, public):
        with pytest.raises(BundleSignatureError, match="keygen"):
            load_public_key(pem)


def test_a_signed_bundle_opens_with_its_key_and_no_other(tmp_path: Path) -> None:
    path = golden.changed_bundle(tmp_path / "signed.edgetl", private_pem=PRIVATE)
    assert read_bundle(path, trusted=TRUST, allow_unsigned=False).signed_by in TRUST
    assert read_bundle(path).signed_by is None  # inspected, not judged
    for trust in ({}, OTHER_TRUST):
        for allow_unsigned in (False, True):  # a signature is judged where there is one
            with pytest.raises(BundleSignatureError):
                read_bundle(path, trusted=trust, allow_unsigned=allow_unsigned)


def test_the_signature_of_one_bundle_does_not_serve_another(tmp_path: Path) -> None:
    signed = golden.changed_bundle(tmp_path / "signed.edgetl", private_pem=PRIVATE)
    with zipfile.ZipFile(str(signed)) as archive:
        signature = archive.read("manifest.sig")
    other = golden.changed_bundle(tmp_path / "other.edgetl", private_pem=PRIVATE, sequence=99)
    with zipfile.ZipFile(str(other)) as archive:
        files = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(str(tmp_path / "mixed.edgetl"), "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, signature if name == "manifest.sig" else data)
    with pytest.raises(BundleSignatureError, match="does not fit"):
        read_bundle(tmp_path / "mixed.edgetl", trusted=TRUST)


def test_a_wrong_key_writes_no_bundle(tmp_path: Path) -> None:
    found = golden.bundle()
    with pytest.raises(BundleSignatureError):
        write_bundle(tmp_path / "x.edgetl", found.manifest, found.members, b"rubbish")
    assert list(tmp_path.iterdir()) == []
