"""Several bundles in one state folder: each keeps what it learnt, and an update learns again from what was kept."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

pytest.importorskip("cryptography")

from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.cli import main
from edgetl_runtime.errors import (
    BundleDowngradeError,
    EdgetlError,
    FoldedSampleError,
    LearntLeftError,
    StateBusyError,
    StateError,
    UnknownSampleError,
)
from edgetl_runtime.store import MOST_SPACES, open_store
from edgetl_runtime.switching import list_installed

from tests.attacks.forge import TRUSTED, key_pair, public_pem
from tests.runtime import golden
from tests.runtime.test_updating import Device, head_of_fewer

FRAMES, LABELS = golden.frames(), golden.labels()
NAME = golden.bundle().manifest.name
RAW = 1 << 24


class Shop(Device):
    """A device with bundles of other features, all signed."""

    def other(self, name: str = "other", digit: str = "a", sequence: int = 1, **fields: Any) -> Path:
        path = self.folder / f"{name}-{digit}-{sequence}.edgetl"
        return golden.other_space(path, name, digit, sequence=sequence, private_pem=key_pair(TRUSTED)[0], **fields)

    def teach(self, bundle: Any, start: int, stop: int, **options: Any) -> List[int]:
        with self.open(bundle, **options) as session:
            return session.learn_many(FRAMES[start:stop], LABELS[start:stop], source=f"{start}")

    def names(self) -> List[str]:
        return [("*" if one.in_use else "") + one.name for one in list_installed(self.state)]


@pytest.fixture
def device(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


# -- switching


def test_each_bundle_finds_again_what_it_had_learnt(device: Shop) -> None:
    first, second = device.release(1), device.other()
    assert device.teach(first, 0, 20) == list(range(1, 21))
    with device.open(first) as session:
        seen = golden.views(session)
    assert device.teach(second, 20, 30) == list(range(21, 31))  # no id is given twice on a device
    assert device.names() == [NAME, "*other"]
    with device.open(first) as session:
        assert np.array_equal(golden.views(session), seen) and session.status()["learnt_samples"] == 20
        assert session.learn(FRAMES[30], LABELS[30]) == 31
    with device.open(second) as session:
        assert session.status()["learnt_samples"] == 10
        assert session.history()[-1].words.endswith(f"in place of {read_bundle(first).id[:12]}")
    assert device.run() == 1 and device.names() == [NAME, "*other"]
    assert len(list((device.state / "bundles").iterdir())) == 2


def test_nothing_learnt_needs_no_state_of_its_own(device: Shop) -> None:
    device.run(device.release(1))
    device.run(device.other())
    assert not (device.state / "spaces").exists() and device.names() == ["*other"]


def test_an_old_release_does_not_come_back_by_way_of_another_bundle(device: Shop) -> None:
    device.teach(device.release(5), 0, 3)
    device.run(device.other(sequence=7))
    for old in (device.release(4), device.other(sequence=6)):
        with pytest.raises(BundleDowngradeError):
            device.open(old)
    assert device.run(device.release(6)) == 6
    with pytest.raises(BundleDowngradeError):
        device.open(device.other(sequence=6))
    assert device.run(device.other(sequence=7)) == 7


def test_a_bundle_that_never_answers_leads_back_to_the_one_that_was_in_use(device: Shop) -> None:
    device.teach(device.release(1), 0, 20)
    other = device.other(sequence=3)
    for bundle in (other, None, None):
        device.die(bundle)
    with device.open(None) as session:
        assert session.status()["bundle"]["name"] == NAME and session.status()["learnt_samples"] == 20
        assert "ended before a first answer" in session.status()["recovered"]
    assert device.run(other) == 1  # by the same path: the device goes on with what works
    assert device.run(other, reinstall=True) == 3 and device.names() == [NAME, "*other"]


def test_a_second_bundle_that_never_answers_leads_back_to_the_last_that_did(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    device.die(device.other(sequence=3))
    device.die(device.other(sequence=4))
    for _ in range(2):
        device.die()
    assert device.run() == 1 and device.names() == ["*" + NAME, "other"]


def test_the_one_in_use_is_found_though_its_note_is_damaged_or_gone(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    device.teach(device.other(), 5, 8)
    note = device.state / "active"
    for damaged in (b"2 garbage", b"", None):
        note.unlink() if damaged is None else note.write_bytes(damaged)
        with device.open(None, read_only=True) as session:
            assert session.status()["bundle"]["name"] == "other"
        device.run()
        assert note.read_bytes().startswith(b"2 ") and device.names() == [NAME, "*other"]


def test_damage_of_one_state_leaves_the_others_whole(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    device.teach(device.other(), 5, 8)
    (device.state / "spaces" / "2" / "state.sqlite").write_bytes(b"")
    with device.open(None) as session:
        assert session.status()["kept_aside"] and session.status()["bundle"]["name"] == "other"
    with device.open(device.release(1)) as session:
        assert session.status()["learnt_samples"] == 5 and session.status()["kept_aside"] == []


def test_a_state_that_lost_its_facts_takes_its_own_bundle_again(device: Shop) -> None:
    device.teach(device.release(9), 0, 5)  # newer by number than the other
    device.teach(device.other(), 5, 8)
    (device.state / "spaces" / "2" / "state.sqlite").unlink()
    with device.open(None) as session:
        assert session.status()["bundle"]["name"] == "other"


def test_where_the_copy_of_the_bundle_in_use_is_gone_another_one_serves(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    device.teach(device.other(), 5, 8)
    (device.state / "bundles" / f"{read_bundle(device.other()).id}.edgetl").unlink()
    with device.open(None) as session:
        assert session.status()["bundle"]["confirmed"] and session.status()["learnt_samples"] == 5
    assert device.run(device.other()) == 1


def test_who_writes_holds_the_folder_whatever_bundle_he_uses(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    with device.open(device.other()):
        for bundle in (None, device.release(1)):
            with pytest.raises(StateBusyError):
                device.open(bundle)


def test_so_many_extractors_and_no_more(device: Shop) -> None:
    device.teach(device.release(1), 0, 1)
    for number in range(2, MOST_SPACES + 1):
        device.teach(device.other(f"n{number}", f"{number}"), number, number + 1)
    with pytest.raises(StateError, match="--discard-learnt"):
        device.open(device.other("too-many", "e"))
    assert device.run(device.other("too-many", "e"), discard_learnt=True) == 1


def test_a_bundle_that_is_refused_leaves_no_state_of_its_own(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    wrong = golden.bundle().members["golden.safetensors"][:-4] + b"\0\0\x80\x40"
    bad = device.other(members={"golden.safetensors": wrong})
    before = sorted(device.state.rglob("*"))
    with pytest.raises(EdgetlError):
        device.open(bad)
    assert sorted(device.state.rglob("*")) == before
    assert device.run() == 1


# -- updates with another extractor


def test_an_update_learns_again_from_the_samples_that_were_kept(device: Shop, tmp_path: Path) -> None:
    device.teach(device.release(1), 0, 20, keep_raw_bytes=RAW)
    update = device.other(NAME, sequence=2)
    with golden.opened(tmp_path / "fresh", update, trusted=[public_pem(TRUSTED)]) as fresh:
        fresh.learn_many(FRAMES[:20], LABELS[:20])
        expected = golden.views(fresh)
    with device.open(update) as session:
        assert [sample.id for sample in session.samples()] == list(range(1, 21))
        assert session.status()["learnt_samples"] == session.status()["kept_samples"] == 20
        assert session.status()["generation"] == 1 and golden.close_to(golden.views(session), expected)
        session.forget(20)
        assert session.status()["kept_samples"] == 19
    assert device.run() == 2


def test_what_was_not_kept_is_said_and_left_only_on_purpose(device: Shop) -> None:
    device.teach(device.release(1), 0, 20)
    device.teach(None, 20, 25, keep_raw_bytes=RAW)
    update = device.other(NAME, sequence=2)
    with pytest.raises(LearntLeftError, match="20 of 25 samples"):
        device.open(update)
    assert device.run() == 1
    with device.open(update, leave_learnt=True) as session:
        assert [sample.id for sample in session.samples()] == [21, 22, 23, 24, 25]
    with device.open(device.release(1), allow_downgrade=True) as session:
        assert session.status()["learnt_samples"] == 25


def test_kept_samples_are_bounded_and_give_way_to_the_oldest_last(device: Shop) -> None:
    device.teach(device.release(1), 0, 20, keep_raw_bytes=RAW)
    with contextlib.closing(open_store(device.state)) as store:
        size = store.raw.used_bytes()
    device.teach(None, 20, 40, keep_raw_bytes=size)
    with contextlib.closing(open_store(device.state)) as store:
        assert 0 < store.raw.used_bytes() <= size
        assert store.raw.ids()[-1] == 40 and store.raw.ids()[0] > 1
        assert np.array_equal(store.raw.get(40), FRAMES[39])
    with device.open(None) as session:
        assert session.status()["learnt_samples"] == 40


def test_samples_are_kept_only_where_somebody_asked(device: Shop) -> None:
    device.teach(device.release(1), 0, 5)
    with contextlib.closing(open_store(device.state)) as store:
        assert not store.raw.exists and list(store.raw.ids()) == []


def test_a_damaged_sample_is_left_out_and_said(device: Shop, caplog: pytest.LogCaptureFixture) -> None:
    device.teach(device.release(1), 0, 5, keep_raw_bytes=RAW)
    connection = sqlite3.connect(str(device.state / "state.sqlite"), isolation_level=None)
    connection.execute("UPDATE raw SET data = zeroblob(50) WHERE id = 3")
    connection.close()
    with device.open(device.other(NAME, sequence=2)) as session:
        assert [sample.id for sample in session.samples()] == [1, 2, 4, 5]
    assert "stored sample 3 does not match its hash" in caplog.text


# -- forgetting


def test_what_is_forgotten_is_gone_from_every_state(device: Shop, tmp_path: Path) -> None:
    first = device.release(1)
    device.teach(first, 0, 10, keep_raw_bytes=RAW)
    device.teach(first, 10, 20, keep_raw_bytes=RAW)
    with device.open(device.other(NAME, sequence=2)) as session:
        assert session.forget(source="10") == 10
        assert session.forget(3) == 1
        with pytest.raises(UnknownSampleError):
            session.forget(3)
    with golden.opened(tmp_path / "fresh", first, trusted=[public_pem(TRUSTED)]) as fresh:
        chosen = [i for i in range(10) if i != 2]
        fresh.learn_many(FRAMES[chosen], [LABELS[i] for i in chosen])
        expected = golden.views(fresh)
    with device.open(first, allow_downgrade=True) as session:
        assert [sample.id for sample in session.samples()] == [1, 2, *range(4, 11)]
        assert golden.close_to(golden.views(session), expected)
    with device.open(device.other(NAME, sequence=2)) as session:
        session.forget(1)
    with device.open(first, allow_downgrade=True) as session:
        assert session.samples()[0].id == 2


def test_what_only_another_bundle_had_learnt_can_be_forgotten_too(device: Shop) -> None:
    device.teach(device.release(1), 0, 10)
    with device.open(device.other()) as session:
        assert session.forget(4) == 1
    with device.open(device.release(1)) as session:
        assert 4 not in [sample.id for sample in session.samples()]


def test_a_sum_in_another_state_cannot_be_taken_apart_and_nothing_is_forgotten(device: Shop) -> None:
    used = device.teach(device.release(1), 0, 40, quota_bytes=1)
    device.teach(device.other(), 40, 50)
    with device.open(None) as session:
        with pytest.raises(FoldedSampleError):
            session.forget(used[0])
        assert session.status()["learnt_samples"] == 10


# -- releases of a bundle that is not in use


def test_a_new_release_takes_over_the_state_of_its_features(device: Shop) -> None:
    device.teach(device.release(1), 0, 20)
    device.run(device.other())
    with device.open(device.release(2, members=head_of_fewer())) as session:
        assert session.status()["learnt_samples"] == 20 and session.status()["bundle"]["sequence"] == 2
    assert device.names() == ["*" + NAME, "other"]


def test_the_commands_list_and_switch(device: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(device.state)]
    assert main(["use", *state]) == 0 and "no bundle is installed" in capsys.readouterr().out
    device.teach(device.release(1), 0, 20)
    assert main(["install", str(device.other()), *state]) == 0
    assert f"beside it: {NAME} (" in capsys.readouterr().out
    assert main(["use", NAME, *state]) == 0 and "learnt with it: 20" in capsys.readouterr().out
    assert main(["use", *state]) == 0 and f"* {NAME} " in capsys.readouterr().out
    assert main(["use", "nothing", *state]) == 1
    assert f"no bundle is called 'nothing'. Installed: {NAME}" in capsys.readouterr().err


def test_what_was_left_with_an_older_release_is_found_again_on_purpose(
    device: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(device.state)]
    device.teach(device.release(1), 0, 5)
    device.run(device.other(NAME, sequence=2), leave_learnt=True)
    old = read_bundle(device.release(1)).id
    assert main(["use", old[:12], *state]) == 1 and "--allow-downgrade" in capsys.readouterr().err
    assert main(["use", old[:12], *state, "--allow-downgrade"]) == 0
    assert "learnt with it: 5" in capsys.readouterr().out


def test_a_bundle_of_another_name_and_the_same_extractor_says_whose_place_it_takes(
    device: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(device.state)]
    device.teach(device.release(1), 0, 5)
    assert main(["install", str(device.release(1, name="twin")), *state]) == 0
    said = capsys.readouterr().out
    assert f"in place of {NAME} ({read_bundle(device.release(1)).id[:12]}); what it learnt stays" in said
    assert device.names() == ["*twin"]


def test_bundles_of_one_extractor_are_kept_apart_once_that_was_said(device: Shop) -> None:
    twin = device.folder / "twin.edgetl"
    device.release(1, name="twin").rename(twin)
    first = device.release(1)
    device.teach(first, 0, 20)
    device.run(twin, leave_learnt=True)
    assert device.names() == [NAME, "*twin"]
    device.teach(twin, 20, 25)
    device.run(device.other())  # other features, and back again
    for bundle, learnt in ((first, 20), (twin, 5), (device.release(2), 20), (twin, 5)):
        with device.open(bundle) as session:
            assert session.status()["learnt_samples"] == learnt
    assert device.names() == [NAME, "*twin", "other"]


def test_a_person_is_asked_before_what_was_learnt_is_left_behind(
    device: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device.teach(device.release(1), 0, 5)
    update = ["install", str(device.other(NAME, sequence=2)), "--state", str(device.state)]
    assert main(update) == 1 and "5 of 5 samples" in capsys.readouterr().err
    for answer, code in (("", 1), ("\n", 1), ("no\n", 1), ("y\n", 0)):  # the first: Ctrl-D
        typed = io.StringIO(answer)
        monkeypatch.setattr(typed, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", typed)
        assert main(update) == code
    assert device.run() == 2
