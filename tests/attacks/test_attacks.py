"""Every attack is refused with its own error, in bounded memory and time, opening and leaving nothing."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import List

import pytest

pytest.importorskip("cryptography")

from edgetl_runtime.bundle import read_bundle
from edgetl_runtime.errors import BundleError, EdgetlError, SourceError, StateError
from edgetl_runtime.opening import open_session
from edgetl_runtime.trust import trust_key

from tests.attacks.corpus import ATTACKS
from tests.attacks.forge import TRUSTED, bundle, public_pem
from tests.attacks.run import run_attack, warm


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    warm()


def test_the_corpus_is_large() -> None:
    assert len(ATTACKS) >= 60


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_is_refused_by_its_own_error_and_leaves_nothing(name: str) -> None:
    result = run_attack(name)
    assert ATTACKS[name].error in result.get("kinds", ()), result
    assert result["message"], result
    assert not result["installed"], result
    assert not result["over_limit"], result


def test_a_rightly_signed_bundle_is_not_refused(tmp_path: Path) -> None:
    trust_key(tmp_path / "state", public_pem(TRUSTED))
    (tmp_path / "right.edgetl").write_bytes(bundle())
    with open_session(tmp_path / "right.edgetl", tmp_path / "state", threads=1) as session:
        assert session.status()["bundle"]["signed_by"]


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "endless link", "zeros without end"])
def test_a_name_that_is_no_file_is_refused_and_never_waits(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.edgetl"
    if kind == "fifo":
        os.mkfifo(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        import socket

        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "endless link":
        path.symlink_to(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises((BundleError, SourceError)):
        read_bundle(path)


def test_a_file_that_is_swapped_while_it_is_installed_is_never_half_trusted(tmp_path: Path) -> None:
    """A thread changes the file a thousand times between a signed bundle and a forged one, and half of each."""
    good, evil = bundle(), ATTACKS["golden samples that decide otherwise"].make()
    forged = good.replace(b'"sequence": 1', b'"sequence": 7')
    path = tmp_path / "bundle.edgetl"
    path.write_bytes(good)
    stop = threading.Event()

    def swap() -> None:
        for turn in range(1000):
            if stop.is_set():
                return
            data = (good, evil, forged, good[: len(good) // 2] + evil[len(good) // 2 :])[turn % 4]
            if turn % 3:
                with path.open("r+b") as file:
                    file.write(data)
                    file.truncate()
            else:
                other = tmp_path / "other"
                other.write_bytes(data)
                other.replace(path)

    thread = threading.Thread(target=swap)
    thread.start()
    ends: List[str] = []
    try:
        while thread.is_alive():
            state = tmp_path / f"state-{len(ends)}"
            trust_key(state, public_pem(TRUSTED))
            try:
                with open_session(path, state, threads=1):
                    ends.append("installed")
            except EdgetlError:
                ends.append("refused")
            for kept in (state / "bundles").glob("*.edgetl"):
                assert kept.read_bytes() == good  # whatever was accepted is the signed one, whole
    finally:
        stop.set()
        thread.join()
    with pytest.raises((BundleError, StateError, SourceError)):
        path.write_bytes(forged)
        trust_key(tmp_path / "last", public_pem(TRUSTED))
        open_session(path, tmp_path / "last", threads=1)
