"""What is installed was verified, is whole after a cut, and can be repaired by installing again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleSignatureError,
    BundleUnsignedError,
    SourceError,
    StateError,
)
from edgetl_runtime.installation import keep_bundle, make_state_folder, open_installed
from edgetl_runtime.opening import open_session
from edgetl_runtime.trust import trust_key, trusted_keys

from tests.runtime import golden


def kept(state: Path) -> Path:
    (path,) = (state / "bundles").iterdir()
    return path


def test_the_bundle_may_vanish_after_it_was_installed(tmp_path: Path) -> None:
    copy = tmp_path / "copy.edgetl"
    shutil.copy(str(golden.BUNDLE), str(copy))
    with golden.opened(tmp_path / "state", copy) as session:
        session.learn(golden.frames()[0], "1")
    copy.unlink()
    with golden.opened(tmp_path / "state", None) as session:
        assert session.status()["learnt_samples"] == 1
    assert kept(tmp_path / "state").read_bytes() == golden.BUNDLE.read_bytes()
    assert kept(tmp_path / "state").name == golden.bundle().id + ".edgetl"


def test_installing_twice_changes_nothing(tmp_path: Path) -> None:
    golden.opened(tmp_path / "state").close()
    before = kept(tmp_path / "state").stat()
    golden.opened(tmp_path / "state").close()
    assert kept(tmp_path / "state").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "another"])
def test_a_damaged_installation_says_so_and_is_repaired_by_installing_again(damage: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with golden.opened(state) as session:
        session.learn(golden.frames()[0], "1")
    path = kept(state)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    elif damage == "another":
        shutil.copy(str(golden.changed_bundle(tmp_path / "other.edgetl", sequence=7)), str(path))
    else:
        path.write_bytes(bytes(data) if damage == "changed" else bytes(data[:1000]))
    with pytest.raises((BundleCorruptError, StateError), match=r"install it again.*What was learnt is kept"):
        golden.opened(state, None)
    golden.opened(state).close()
    with golden.opened(state, None) as session:
        assert session.status()["learnt_samples"] == 1
    assert kept(state).read_bytes() == golden.BUNDLE.read_bytes()


def test_what_a_cut_left_half_written_is_never_used_and_goes_with_the_next_installation(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "bundles").mkdir(parents=True)
    (state / "bundles" / ".staged").write_bytes(golden.BUNDLE.read_bytes()[:5000])
    with pytest.raises(StateError, match="no bundle is installed"):
        golden.opened(state, None)
    golden.opened(state).close()
    assert [path.name for path in (state / "bundles").iterdir()] == [golden.bundle().id + ".edgetl"]


def test_a_bundle_that_changes_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    """What was verified is one thing, what lies at the path now another (RAUC, CVE-2020-25860)."""
    source = tmp_path / "x.edgetl"
    shutil.copy(str(golden.BUNDLE), str(source))
    verified = read_bundle(source)
    golden.changed_bundle(source, sequence=99)
    with pytest.raises(BundleCorruptError, match="changed while"):
        keep_bundle(verified, source, tmp_path / "state", {}, True)
    source.write_bytes(b"rubbish")
    with pytest.raises(BundleCorruptError):
        keep_bundle(verified, source, tmp_path / "state", {}, True)
    source.unlink()
    with pytest.raises(StateError, match="cannot install"):
        keep_bundle(verified, source, tmp_path / "state", {}, True)
    assert list((tmp_path / "state" / "bundles").iterdir()) == []


def test_an_unsigned_twin_does_not_take_the_place_of_what_a_trusted_key_signed(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from edgetl_runtime.bundle.signature import load_public_key

    from tests.attacks.forge import TRUSTED, key_pair

    private, public, name = key_pair(TRUSTED)
    signed = golden.changed_bundle(tmp_path / "signed.edgetl", private_pem=private)
    unsigned = golden.changed_bundle(tmp_path / "unsigned.edgetl")
    trusted, state = {name: load_public_key(public)}, tmp_path / "state"
    for path in (signed, unsigned):
        keep_bundle(read_bundle(path), path, state, trusted, True)
    assert kept(state).read_bytes() == signed.read_bytes()
    keep_bundle(read_bundle(unsigned), unsigned, state, {}, True)  # that key is trusted no more
    assert kept(state).read_bytes() == unsigned.read_bytes()


def test_a_state_that_forgot_its_bundle_takes_the_newest_release(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for sequence in (3, 1, 2):
        path = golden.changed_bundle(tmp_path / f"{sequence}.edgetl", sequence=sequence)
        keep_bundle(read_bundle(path), path, folder, {}, True)
    assert open_installed(folder, None, {}, True).manifest.sequence == 3
    newest = max((folder / "bundles").iterdir(), key=lambda path: read_bundle(path).manifest.sequence)
    newest.write_bytes(b"rubbish")
    assert open_installed(folder, None, {}, True).manifest.sequence == 2
    for path in (folder / "bundles").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(BundleCorruptError):
        open_installed(folder, None, {}, True)


def test_a_refused_bundle_installs_nothing(tmp_path: Path) -> None:
    (tmp_path / "cut.edgetl").write_bytes(golden.BUNDLE.read_bytes()[:40_000])
    with pytest.raises(BundleCorruptError):
        golden.opened(tmp_path / "state", tmp_path / "cut.edgetl")
    with pytest.raises(BundleUnsignedError):
        open_session(golden.BUNDLE, tmp_path / "state")
    with pytest.raises(SourceError):
        golden.opened(tmp_path / "state", tmp_path / "none.edgetl")
    assert not (tmp_path / "state" / "bundles").exists()
    with pytest.raises(StateError, match="no bundle is installed"):
        golden.opened(tmp_path / "state", None)


def test_a_state_folder_is_made_with_its_parents_and_every_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    make_state_folder(tmp_path / "a" / "b" / "c")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(synced)
    synced.clear()
    path = golden.BUNDLE
    keep_bundle(read_bundle(path), path, tmp_path / "a" / "b" / "c", {}, True)
    bundles = tmp_path / "a" / "b" / "c" / "bundles"
    assert synced.index(str(bundles / ".staged")) < synced.index(str(bundles))  # the bytes before the name


def test_trusted_keys_are_kept_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    state = tmp_path / "state"
    assert trusted_keys(state) == {}
    identity = trust_key(state, public)
    assert trust_key(state, public) == identity
    assert list(trusted_keys(state)) == [identity] == list(trusted_keys(tmp_path, [public]))
    signed = golden.changed_bundle(tmp_path / "signed.edgetl", private_pem=private)
    with open_session(signed, state, threads=1) as session:
        assert session.status()["bundle"]["signed_by"] == identity
    with open_session(None, state, threads=1) as session:
        assert session.predict(golden.frames()[0]).generation == 0
    with pytest.raises(BundleSignatureError, match="trust add"):
        open_session(signed, tmp_path / "elsewhere", threads=1)
    with open_session(signed, tmp_path / "elsewhere", trusted=[public], threads=1) as session:
        assert session.status()["bundle"]["signed_by"] == identity
    with pytest.raises(BundleSignatureError, match="PEM"):
        trust_key(state, b"rubbish")
    (state / "trusted" / f"{identity}.pub").write_bytes(b"rubbish")
    with pytest.raises(BundleSignatureError, match=identity):
        open_session(None, state, threads=1)
