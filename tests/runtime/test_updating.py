"""A bundle is on trial until it answers: it can be gone back from, and an older one cannot come back unnoticed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cryptography")

from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.cli import main
from edgetl_runtime.errors import (
    BundleCorruptError,
    BundleDeviceError,
    BundleDowngradeError,
    BundleUnsignedError,
    LearntLeftError,
)
from edgetl_runtime.opening import open_session
from edgetl_runtime.session import Session
from edgetl_runtime.trust import trust_key

from tests.attacks.forge import TRUSTED, key_pair, public_pem
from tests.runtime import boards, golden
from tests.runtime.boards import lay_out

FRAMES, LABELS = golden.frames(), golden.labels()


class Device:
    """A state that trusts one key, and the releases that key signs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        trust_key(self.state, public_pem(TRUSTED))

    def release(self, sequence: int, signed: bool = True, **fields: Any) -> Path:
        name = "-".join([str(sequence), str(signed), *map(str, fields)])
        key = key_pair(TRUSTED)[0] if signed else None
        fields.setdefault("members", None)
        return golden.changed_bundle(
            self.folder / f"{name}.edgetl", private_pem=key, sequence=sequence, **fields
        )

    def open(self, bundle: Any = None, **options: Any) -> Session:
        return open_session(bundle, self.state, threads=1, policy="immediate", **options)

    def run(self, bundle: Any = None, **options: Any) -> int:
        """A whole life of a process: it answers once. The sequence of the bundle that served."""
        with self.open(bundle, **options) as session:
            session.predict(FRAMES[0])
            return int(session.status()["bundle"]["sequence"])

    def die(self, bundle: Any = None, **options: Any) -> None:
        """A process that ends before its first answer."""
        session = self.open(bundle, **options)
        session._release()

    def installed(self) -> List[int]:
        return sorted(read_bundle(path).manifest.sequence for path in (self.state / "bundles").iterdir())


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def head_of_fewer(share: float = 0.5) -> Dict[str, bytes]:
    """The golden head member with other source statistics: what a release that was trained again brings."""
    variant = golden.bundle().manifest.variants[0]
    member = HeadMember.unpack(golden.bundle().members[variant.head], variant.head, variant.feature_space, variant.dim)
    return {variant.head: HeadMember(member.source.scaled(share), member.head, member.options, member.factory).pack()}


# -- downgrade and replay


def test_an_older_release_is_refused_once_the_newer_one_has_answered(device: Device) -> None:
    assert device.run(device.release(5)) == 5
    with pytest.raises(BundleDowngradeError, match=r"--allow-downgrade"):
        device.open(device.release(4))
    assert device.installed() == [5] and device.run() == 5
    assert device.run(device.release(6)) == 6


def test_the_same_sequence_has_one_content(device: Device) -> None:
    assert device.run(device.release(5)) == 5
    with pytest.raises(BundleDowngradeError, match="another bundle"):
        device.open(device.release(5, notes={"other": 1}))
    assert device.run(device.release(5)) == 5


def test_a_release_that_has_not_answered_yet_can_be_gone_back_from(device: Device) -> None:
    assert device.run(device.release(5)) == 5
    device.open(device.release(6)).close()  # golden samples passed, and nobody asked it anything
    with device.open(None) as session:
        assert not session.status()["bundle"]["confirmed"]
    assert device.run(device.release(5)) == 5
    assert device.run() == 5


@pytest.mark.parametrize("how", ["predict", "learn", "confirm"])
def test_an_answer_a_learnt_sample_or_a_word_confirms(how: str, device: Device) -> None:
    device.run(device.release(1))
    with device.open(device.release(2)) as session:
        assert not session.status()["bundle"]["confirmed"]
        {
            "predict": lambda: session.predict(FRAMES[0]),
            "learn": lambda: session.learn(FRAMES[0], "1"),
            "confirm": session.confirm,
        }[how]()
    with device.open(None) as session:
        assert session.status()["bundle"]["confirmed"]
    with pytest.raises(BundleDowngradeError):
        device.open(device.release(1))


def test_a_person_may_go_back_and_the_promise_stays(device: Device) -> None:
    device.run(device.release(5))
    assert device.run(device.release(3), allow_downgrade=True) == 3
    assert device.run(device.release(3)) == 3  # what is installed is no downgrade
    with pytest.raises(BundleDowngradeError):
        device.open(device.release(4))
    assert device.run(device.release(5)) == 5


def test_a_bundle_that_nobody_signed_carries_no_such_promise(device: Device) -> None:
    device.run(device.release(5))
    with pytest.raises(BundleUnsignedError):
        device.open(device.release(9, signed=False))
    assert device.run(device.release(3, signed=False), allow_unsigned=True) == 3
    with pytest.raises(BundleDowngradeError):
        device.open(device.release(4))


def test_sequences_are_counted_by_name(device: Device) -> None:
    device.run(device.release(5))
    assert device.run(device.release(1, name="another")) == 1
    with pytest.raises(BundleDowngradeError):
        device.open(device.release(4))


def test_damage_of_the_state_file_brings_no_old_release_back(device: Device) -> None:
    device.run(device.release(5))
    path = device.state / "state.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 4096])
    with device.open(device.release(5)) as session:
        assert session.status()["kept_aside"]
    with pytest.raises(BundleDowngradeError):
        device.open(device.release(4))


# -- boards


def test_a_bundle_for_another_board_is_refused_unless_on_purpose(device: Device, tmp_path: Path) -> None:
    nano = lay_out(tmp_path / "nano", boards.ORIN_NANO)
    bundle = device.release(1, targets=("raspberry-pi-5",))
    with pytest.raises(BundleDeviceError, match=r"raspberry-pi-5; this is jetson-orin-nano-8gb.*--any-device"):
        device.open(bundle, board_root=nano)
    assert not (device.state / "bundles").exists()
    assert device.run(bundle, board_root=nano, any_device=True) == 1
    assert device.run(None, board_root=nano) == 1 == device.run(bundle, board_root=nano)
    for targets in ((), ("jetson-orin-nano-8gb",), ("raspberry-pi-5", "jetson-orin-nano-8gb"), ("cpu",)):
        named = device.release(2 + len(targets), targets=targets, notes={"for": list(targets)})
        device.open(named, board_root=nano, allow_downgrade=True).close()


def test_a_pc_takes_any_bundle_and_says_so(device: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = lay_out(tmp_path / "pc", boards.X86)
    assert device.run(device.release(1, targets=("raspberry-pi-5",)), board_root=root) == 1
    assert "was built for raspberry-pi-5" in caplog.text


# -- the trial


@pytest.mark.parametrize("by_path", [False, True])
def test_three_starts_that_end_before_an_answer_lead_back(
    by_path: bool, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    with device.open(device.release(1)) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen, generation = golden.views(session), session.status()["generation"]
    update = device.release(2, members=head_of_fewer())
    named = update if by_path else None
    device.die(update)
    device.die(named)
    device.die(named)
    caplog.clear()
    with device.open(named) as session:  # by the same path: it is the device that must go on
        status = session.status()
        assert status["bundle"]["sequence"] == 1 and status["bundle"]["confirmed"]
        assert status["generation"] == generation and "ended before a first answer" in status["recovered"]
        assert np.array_equal(golden.views(session), seen)
    assert [record for record in caplog.records if record.levelno == logging.ERROR]
    assert device.run(named) == 1
    assert device.run(update, reinstall=True) == 2  # a person's second try


def test_orderly_ends_without_an_answer_are_no_failed_starts(device: Device) -> None:
    device.run(device.release(1))
    device.open(device.release(2)).close()
    for _ in range(5):
        device.open(None).close()
    assert device.run() == 2


def test_a_copy_that_is_damaged_on_trial_leads_back(device: Device) -> None:
    device.run(device.release(1))
    device.die(device.release(2))
    for path in (device.state / "bundles").iterdir():
        if read_bundle(path).manifest.sequence == 2:
            path.write_bytes(path.read_bytes()[:5000])
    for _ in range(2):
        with pytest.raises(BundleCorruptError):
            device.open()
    assert device.run() == 1


def test_a_copy_that_is_gone_on_trial_leads_back_at_once(device: Device) -> None:
    device.run(device.release(1))
    device.die(device.release(2))
    for path in (device.state / "bundles").iterdir():
        if read_bundle(path).manifest.sequence == 2:
            path.unlink()
    assert device.run() == 1
    with device.open() as session:
        assert session.status()["bundle"]["confirmed"]


def test_from_the_second_update_that_never_answered_it_goes_to_the_last_that_did(device: Device) -> None:
    with device.open(device.release(1)) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen = golden.views(session)
    device.die(device.release(2, members=head_of_fewer()))
    device.die(device.release(3, members=head_of_fewer(0.25)))
    assert device.installed() == [1, 3]
    device.die()
    device.die()
    with device.open() as session:
        assert session.status()["bundle"]["sequence"] == 1
        assert np.array_equal(golden.views(session), seen)


def test_only_the_last_two_bundles_are_kept(device: Device) -> None:
    for sequence in range(1, 6):
        assert device.run(device.release(sequence)) == sequence
    assert device.installed() == [4, 5]


# -- what was learnt


def test_an_update_fits_what_was_learnt_on_its_own_head(device: Device, tmp_path: Path) -> None:
    update = device.release(2, members=head_of_fewer())
    with device.open(device.release(1)) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
        seen = golden.views(session)
    with golden.opened(tmp_path / "fresh", update, trusted=[public_pem(TRUSTED)]) as fresh:
        fresh.learn_many(FRAMES[:20], LABELS[:20])
        expected = golden.views(fresh)
    with device.open(update) as session:
        assert golden.close_to(golden.views(session), expected)
        assert not golden.close_to(expected, seen)
        assert session.learn(FRAMES[20], LABELS[20]) == 21
        assert "update" in [entry.kind for entry in session.history()]
        session.rollback(1)  # a generation answers as it did, also under another bundle
        assert np.array_equal(golden.views(session), seen)
        session.rollback(2)
    with device.open(device.release(1), allow_downgrade=True) as session:  # and back, with all that was learnt
        assert session.status()["learnt_samples"] == 21


def test_a_release_with_other_features_says_what_would_be_lost_and_is_taken_on_purpose(device: Device) -> None:
    other = golden.other_space(device.folder / "other.edgetl", golden.bundle().manifest.name, sequence=2)
    with device.open(device.release(1)) as session:
        session.learn_many(FRAMES[:20], LABELS[:20])
    with pytest.raises(LearntLeftError, match=r"20 of 20.*--leave.*--discard-learnt.*20 learnt samples and 1 gen"):
        device.open(other, allow_unsigned=True)
    with device.open(None) as session:
        assert session.status()["learnt_samples"] == 20
    with device.open(other, allow_unsigned=True, discard_learnt=True) as session:
        assert session.status()["learnt_samples"] == 0 and session.status()["generations"] == [0]
        assert session.learn(FRAMES[0], "1") == 21  # no id is given twice
    with device.open(None, allow_unsigned=True) as session:
        assert session.status()["bundle"]["sequence"] == 2 and session.status()["learnt_samples"] == 1


# -- the copy


def test_a_copy_that_was_verified_is_not_read_again_until_it_changes(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: List[Path] = []
    real = read_bundle

    def counted(path: Any, **options: Any) -> Any:
        read.append(path)
        return real(path, **options)

    bundle = device.release(1)
    device.run(bundle)
    monkeypatch.setattr("edgetl_runtime.installation.read_bundle", counted)
    device.run(bundle)
    assert read == []
    (copy,) = (device.state / "bundles").iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1] + b"\1")
    device.run(bundle)
    assert read and copy.read_bytes() == whole
    read.clear()
    device.run(bundle, reinstall=True)  # a person's installation trusts no look from outside
    assert read == [copy]


def test_the_commands_name_every_way_out(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(device.state)]
    assert main(["install", str(device.release(2)), *state]) == 0
    frame = device.folder / "frame.png"
    Image.fromarray(FRAMES[0]).save(str(frame))
    assert main(["predict", str(frame), *state]) == 0  # it only reads, and its answer counts all the same
    assert main(["install", str(device.release(1)), *state]) == 1
    assert "--allow-downgrade" in capsys.readouterr().err
    assert main(["install", str(device.release(1)), *state, "--allow-downgrade"]) == 0
    assert "on trial until its first prediction" in capsys.readouterr().out
    assert main(["status", *state]) == 0
    assert "trial " in capsys.readouterr().out


def test_whoever_revokes_the_key_of_what_is_installed_is_told(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    device.run(device.release(1))
    state = ["--state", str(device.state)]
    assert main(["trust", "list", *state]) == 0 and "opens no more" not in capsys.readouterr().out
    assert main(["trust", "revoke", key_pair(TRUSTED)[2], *state]) == 0
    said = capsys.readouterr().out
    assert f"is signed by {key_pair(TRUSTED)[2]}, which is not trusted any more" in said and "install it again" in said


def test_a_key_is_revoked_by_its_file_too(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    public = device.folder / "signing.pub"
    public.write_bytes(public_pem(TRUSTED))
    state = ["--state", str(device.state)]
    assert main(["trust", "revoke", str(public), *state]) == 0
    assert f"revoked: {key_pair(TRUSTED)[2]}" in capsys.readouterr().out
    public.write_bytes(b"no key")
    assert main(["trust", "add", str(public), *state]) == 1
    assert f"{public}: not a public key in PEM" in capsys.readouterr().err
