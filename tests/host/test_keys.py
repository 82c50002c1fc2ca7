"""Keys on the host: made, named by their files, and sets of them that a device takes over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from edgetl_runtime.bundle import read_bundle, write_bundle
from edgetl_runtime.errors import BundleSignatureError
from edgetl_runtime.trust import read_trust, rotate_keys, trust_key

import edgetl
from edgetl.cli import main
from tests.host.building.test_build import array_extractor, windows
from tests.runtime import golden


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The ids of three keys, whose files lie here."""
    monkeypatch.chdir(tmp_path)
    ids = {}
    for name in ("old", "new", "recovery"):
        assert main(["keygen", name, "--json"]) == 0
        ids[name] = json.loads(capsys.readouterr().out)["id"]
    return ids


def test_a_device_takes_over_a_set_in_which_keys_are_named_by_their_files(
    keys: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    state = Path("state")
    trust_key(state, Path("old.pub").read_bytes())
    trust_key(state, Path("recovery.pub").read_bytes(), recovery=True)
    written = ["trust", "set.json", "--sequence", "1", "--recovery", "recovery.pub", "--key", "recovery.key"]
    assert main([*written, "--keys", "new.pub", "--revoke", "old.pub"]) == 0
    said = capsys.readouterr().out
    assert f"keys      {keys['new']}\n" in said and f"revoked   {keys['old']}\n" in said
    rotate_keys(state, Path("set.json").read_bytes())
    trust = read_trust(state)
    assert set(trust.keys) == {keys["new"]} and trust.revoked == {keys["old"]}
    assert main([*written, "--keys", "new.pub", "--revoke", keys["old"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["revoked"] == [keys["old"]]


def test_what_is_no_key_is_named(keys: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["trust", "set.json", "--sequence", "1", "--key", "recovery.key", "--recovery"]
    for wrong, words in (
        (["old.key"], "old.key: not a public key in PEM"),
        (["none.pub"], "cannot read the key none.pub"),
        (["recovery.pub", "--revoke", "me"], "16 hex digits, and is ['me']"),
    ):
        assert main([*given, *wrong]) == 1
        assert words in capsys.readouterr().err
    assert not Path("set.json").exists()


def test_judging_a_bundle_says_whose_it_is(keys: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    bundle = golden.bundle()
    write_bundle(Path("plain.edgetl"), bundle.manifest, bundle.members, None)
    assert main(["sign", "plain.edgetl", "--key", "old.key", "--out", "signed.edgetl"]) == 0
    assert main(["inspect", "signed.edgetl", "--verify", "old.pub"]) == 0
    assert f"by key {keys['old']}, judged and right" in capsys.readouterr().out
    assert main(["inspect", "signed.edgetl", "--verify", "new.pub"]) == 1
    assert f"signed by key '{keys['old']}', not by new.pub ({keys['new']})" in capsys.readouterr().err
    assert main(["inspect", "plain.edgetl", "--verify", "new.pub"]) == 1
    assert "plain.edgetl is not signed; edgetl sign" in capsys.readouterr().err
    assert main(["inspect", "signed.edgetl", "--verify", "old.key"]) == 1
    assert "old.key: not a public key" in capsys.readouterr().err
    changed = bytearray(Path("signed.edgetl").read_bytes())
    position = changed.find(b'"signature"') + len(b'"signature": "') + 3
    changed[position] ^= 1
    Path("changed.edgetl").write_bytes(bytes(changed))
    assert main(["inspect", "changed.edgetl", "--verify", "old.pub"]) == 1
    assert "edgetl inspect: " in capsys.readouterr().err


def test_a_release_is_numbered_where_it_is_signed(keys: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    built = golden.bundle()
    write_bundle(Path("plain.edgetl"), built.manifest, built.members, None)
    for options, sequence in (([], built.manifest.sequence), (["--sequence", "7"], 7)):
        assert main(["sign", "plain.edgetl", "--key", "old.key", "--out", "signed.edgetl", "--json", *options]) == 0
        assert json.loads(capsys.readouterr().out)["sequence"] == sequence
        assert read_bundle(Path("signed.edgetl")).manifest == dataclasses.replace(built.manifest, sequence=sequence)
    assert main(["sign", "plain.edgetl", "--key", "old.key", "--sequence", "-1"]) == 1
    assert "sequence" in capsys.readouterr().err
    assert read_bundle(Path("plain.edgetl")).claims_key is None  # as it was


def test_an_encrypted_key_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGETL_PASSPHRASE", "open sesame")
    for options, words in ((["--passphrase"], "(encrypted, secret: "), ([], "(secret: ")):
        name = tmp_path / f"key{len(options)}"
        assert main(["keygen", str(name), *options]) == 0
        assert words in capsys.readouterr().out
        assert (b"ENCRYPTED" in name.with_suffix(".key").read_bytes()) == bool(options)


def test_a_build_signs_with_a_key_that_has_a_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGETL_PASSPHRASE", "open sesame")
    assert main(["keygen", str(tmp_path / "signing"), "--passphrase"]) == 0
    key, samples = tmp_path / "signing.key", edgetl.dataset(*windows())
    assert edgetl.build(array_extractor(), samples, out=tmp_path / "x.edgetl", key=key).signed
    monkeypatch.delenv("EDGETL_PASSPHRASE")
    with pytest.raises(BundleSignatureError, match="has a passphrase: set EDGETL_PASSPHRASE"):
        edgetl.build(array_extractor(), samples, out=tmp_path / "y.edgetl", key=key)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    capsys.readouterr()
    assert main(["build", "--backbone", "timm/none", "--out", str(tmp_path / "y.edgetl"), "--key", str(key)]) == 1
    said = capsys.readouterr().err
    assert "has a passphrase" in said and "opening" not in said  # before any network is


def test_a_command_that_is_left_out_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2 and "    keygen " in capsys.readouterr().err
