"""Keys are provisioned once, rotated by a recovery key only, and a revoked key never counts again."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from edgetl_runtime.bundle.signature import key_id, load_public_key
from edgetl_runtime.bundle.trust_set import MAX_TRUST_SET_BYTES, TrustSet, sign_trust_set, verify_trust_set
from edgetl_runtime.errors import BundleSignatureError
from edgetl_runtime.opening import open_session
from edgetl_runtime.trust import read_trust, revoke_key, rotate_keys, trust_key, trusted_keys
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")


def pair(seed: int) -> Tuple[bytes, bytes, bytes, str]:
    """Private PEM, public PEM, raw public key and its id."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    raw = load_public_key(public)
    return private, public, raw, key_id(raw)


def keys(*seeds: int) -> Dict[str, bytes]:
    return {pair(seed)[3]: pair(seed)[2] for seed in seeds}


@pytest.fixture
def device(tmp_path: Path) -> Path:
    trust_key(tmp_path, pair(1)[1])
    trust_key(tmp_path, pair(9)[1], recovery=True)
    return tmp_path


def test_a_recovery_key_signs_the_new_set_and_no_bundle(device: Path) -> None:
    assert list(trusted_keys(device)) == [pair(1)[3]]  # the recovery key is not among those
    new = TrustSet(1, keys(2, 3), keys(9), (pair(1)[3],))
    assert rotate_keys(device, sign_trust_set(new, pair(9)[0])).sequence == 1
    assert trusted_keys(device) == keys(2, 3)
    assert read_trust(device).revoked == {pair(1)[3]}


def test_the_chain_of_recovery_keys_is_followed(device: Path) -> None:
    rotate_keys(device, sign_trust_set(TrustSet(1, keys(2), keys(8)), pair(9)[0]))
    with pytest.raises(BundleSignatureError, match="recovery key"):  # the first one was replaced
        rotate_keys(device, sign_trust_set(TrustSet(2, keys(4), keys(9)), pair(9)[0]))
    rotate_keys(device, sign_trust_set(TrustSet(5, keys(4), keys(7)), pair(8)[0]))
    assert trusted_keys(device) == keys(4)


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_old_set_is_not_taken_back(device: Path, sequence: int) -> None:
    rotate_keys(device, sign_trust_set(TrustSet(2, keys(2), keys(9)), pair(9)[0]))
    with pytest.raises(BundleSignatureError, match="not newer"):
        rotate_keys(device, sign_trust_set(TrustSet(sequence, keys(1), keys(9)), pair(9)[0]))
    assert trusted_keys(device) == keys(2)


@pytest.mark.parametrize("signer", [1, 5], ids=["a bundle key", "a stranger"])
def test_only_a_recovery_key_rotates(device: Path, signer: int) -> None:
    with pytest.raises(BundleSignatureError, match="nothing was changed"):
        rotate_keys(device, sign_trust_set(TrustSet(1, keys(signer), keys(9)), pair(signer)[0]))
    assert trusted_keys(device) == keys(1)


def test_a_revoked_key_is_never_trusted_again(device: Path) -> None:
    revoke_key(device, pair(1)[3])
    assert trusted_keys(device) == trusted_keys(device, [pair(1)[1]]) == {}
    with pytest.raises(BundleSignatureError, match="revoked"):
        trust_key(device, pair(1)[1])
    with pytest.raises(BundleSignatureError, match="no key id"):
        revoke_key(device, "../etc")


def test_a_revoked_recovery_key_rotates_nothing(device: Path) -> None:
    revoke_key(device, pair(9)[3])
    with pytest.raises(BundleSignatureError, match="recovery"):
        rotate_keys(device, sign_trust_set(TrustSet(1, keys(2), keys(9)), pair(9)[0]))


def test_a_bundle_signed_anew_takes_the_place_of_one_by_a_revoked_key(device: Path, tmp_path: Path) -> None:
    old = golden.changed_bundle(tmp_path / "old.edgetl", private_pem=pair(1)[0])
    new = golden.changed_bundle(tmp_path / "new.edgetl", private_pem=pair(2)[0])
    with open_session(old, device, threads=1) as session:
        session.learn(golden.frames()[0], "1")
    rotate_keys(device, sign_trust_set(TrustSet(1, keys(2), keys(9), (pair(1)[3],)), pair(9)[0]))
    with pytest.raises(BundleSignatureError, match="revoked"):
        open_session(None, device, threads=1)
    with open_session(new, device, threads=1) as session:
        assert session.status()["learnt_samples"] == 1
    with open_session(None, device, threads=1) as session:
        assert session.status()["bundle"]["signed_by"] == pair(2)[3]


def test_under_a_trust_set_no_key_is_added_by_hand(device: Path) -> None:
    rotate_keys(device, sign_trust_set(TrustSet(1, keys(2), keys(9)), pair(9)[0]))
    with pytest.raises(BundleSignatureError, match="trust rotate"):
        trust_key(device, pair(3)[1])


@pytest.mark.parametrize(
    ("trust", "why"),
    [
        (TrustSet(0, keys(2), keys(9)), "sequence"),
        (TrustSet(1, keys(2), {}), "no recovery key"),
        (TrustSet(1, keys(2), keys(9), (pair(2)[3],)), "both trusts and revokes"),
        (TrustSet(1, {"0" * 16: pair(2)[2]}, keys(9)), "not what its id says"),
        (TrustSet(1, keys(2), keys(9), ("x",)), "revoked"),
    ],
)
def test_a_set_that_a_device_would_refuse_is_not_signed(trust: TrustSet, why: str) -> None:
    with pytest.raises(BundleSignatureError, match=why):
        sign_trust_set(trust, pair(9)[0])


def test_what_was_signed_as_a_bundle_is_no_trust_set(device: Path) -> None:
    from edgetl_runtime.bundle.signature import PAYLOAD_TYPE, sign_payload

    envelope: Dict[str, Any] = json.loads(sign_trust_set(TrustSet(1, keys(2), keys(9)), pair(9)[0]))
    payload = base64.b64decode(envelope["payload"])
    key, signature = sign_payload(PAYLOAD_TYPE, payload, pair(9)[0])
    envelope["signatures"] = [{"keyid": key, "sig": signature}]
    with pytest.raises(BundleSignatureError, match="not signed by a recovery key"):
        rotate_keys(device, json.dumps(envelope).encode())


def test_a_damaged_set_is_named_and_trusts_nobody(device: Path) -> None:
    rotate_keys(device, sign_trust_set(TrustSet(1, keys(2), keys(9)), pair(9)[0]))
    (path,) = (device / "trusted").glob("set-*.json")
    path.write_bytes(path.read_bytes().replace(b"payload", b"qayload"))
    with pytest.raises(BundleSignatureError, match="set-"):
        trusted_keys(device)


@given(st.data())
def test_no_single_changed_byte_of_a_set_passes(data: st.DataObject) -> None:
    signed = sign_trust_set(TrustSet(1, keys(2), keys(9), (pair(1)[3],)), pair(9)[0])
    wanted = verify_trust_set(signed, keys(9))
    place = data.draw(st.integers(0, len(signed) - 1))
    changed = bytearray(signed)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(BundleSignatureError):  # a blank between two tokens is no part of what was signed
        assert verify_trust_set(bytes(changed), keys(9)) == wanted


@given(st.binary(max_size=200))
def test_rubbish_is_refused_as_what_it_is(rubbish: bytes) -> None:
    with pytest.raises(BundleSignatureError):
        verify_trust_set(rubbish, keys(9))


def test_an_endless_set_is_not_read() -> None:
    with pytest.raises(BundleSignatureError, match="bytes"):
        verify_trust_set(b" " * (MAX_TRUST_SET_BYTES + 1), keys(9))
