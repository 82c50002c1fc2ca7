"""Any order of installing, learning, judging, going back, forgetting, dying and updating: a device answers, rightly."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

import pytest

pytest.importorskip("cryptography")

from edgetl_runtime.errors import BundleDowngradeError, GenerationError
from edgetl_runtime.session import Session
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.runtime import golden
from tests.runtime.test_updating import Device, head_of_fewer

FRAMES, LABELS = golden.frames(), golden.labels()
SEQUENCES = (1, 2, 3, 4)
_FOLDER: List[Path] = []


def releases() -> Path:
    """Four signed releases, made once: the even ones have another head."""
    if not _FOLDER:
        folder = Path(tempfile.mkdtemp(prefix="releases-"))
        device = Device(folder)
        for sequence in SEQUENCES:
            members = head_of_fewer() if sequence % 2 == 0 else None
            shutil.move(str(device.release(sequence, members=members)), str(folder / f"{sequence}.edgetl"))
        _FOLDER.append(folder)
    return _FOLDER[0]


class Life(RuleBasedStateMachine):
    """One device, and beside it what a person would expect of it."""

    @initialize()
    def begin(self) -> None:
        logging.disable(logging.CRITICAL)
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.device = Device(self.folder)
        self.session: Optional[Session] = self.device.open(releases() / "1.edgetl")
        self.serving, self.before = 1, 0  # 0: nothing to go back to
        self.confirmed = self.failed = 0
        self.reverted = 0
        self.samples: Dict[int, str] = {}
        self.next = 0

    def teardown(self) -> None:
        if getattr(self, "session", None) is not None:
            assert self.session is not None
            self.session.close()
        logging.disable(logging.NOTSET)
        shutil.rmtree(str(self.folder), ignore_errors=True)

    # -- a process that lives

    @precondition(lambda self: self.session is not None)
    @rule()
    def predict(self) -> None:
        assert self.session is not None
        before = self.session.status()["generation"]
        assert self.session.predict(FRAMES[-1]).generation == before
        self.session.confirm()  # the prediction does so in a thread of its own
        self._answered()

    @precondition(lambda self: self.session is not None)
    @rule(count=st.integers(1, 3))
    def learn(self, count: int) -> None:
        assert self.session is not None
        chosen = [(self.next + i) % 100 for i in range(count)]
        self.next += count
        ids = self.session.learn_many(FRAMES[chosen], [LABELS[i] for i in chosen])
        assert not set(ids) & set(self.samples)
        self.samples.update((number, LABELS[i]) for number, i in zip(ids, chosen))
        self._answered()

    @precondition(lambda self: self.session is not None)
    @rule(accept=st.booleans())
    def review(self, accept: bool) -> None:
        assert self.session is not None
        self.session.review(accept)

    @precondition(lambda self: self.session is not None)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        assert self.session is not None
        to = data.draw(st.sampled_from([*self.session.status()["generations"], 999]))
        try:
            self.session.rollback(to)
        except GenerationError:
            assert to in (999, self.session.status()["generation"])
        else:
            assert self.session.status()["generation"] == to

    @precondition(lambda self: self.session is not None and self.samples)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        assert self.session is not None
        number = data.draw(st.sampled_from(sorted(self.samples)))
        assert self.session.forget(number) == 1
        del self.samples[number]

    # -- and ends, and starts

    @precondition(lambda self: self.session is not None)
    @rule()
    def close(self) -> None:
        assert self.session is not None
        self.session.close()
        self.session, self.failed = None, 0

    @precondition(lambda self: self.session is not None)
    @rule()
    def die(self) -> None:
        assert self.session is not None
        self.session._release()  # what SIGKILL leaves: nothing is confirmed
        self.session = None

    @precondition(lambda self: self.session is None)
    @rule(named=st.booleans())
    def start(self, named: bool) -> None:
        asked = releases() / f"{self.serving}.edgetl" if named else None
        self._started()
        self.session = self.device.open(asked)

    @precondition(lambda self: self.session is None and self.failed_counts)
    @rule(times=st.integers(1, 3))
    def crash_loop(self, times: int) -> None:
        for _ in range(times):
            self._started()
            session = self.device.open(None)
            assert session.status()["bundle"]["sequence"] == self.serving
            session._release()

    @precondition(lambda self: self.session is None)
    @rule(sequence=st.sampled_from(SEQUENCES), person=st.booleans())
    def install(self, sequence: int, person: bool) -> None:
        path = releases() / f"{sequence}.edgetl"
        if (sequence == self.serving and not person) or (sequence == self.reverted and not person):
            self._started()
        elif sequence != self.serving and sequence < self.confirmed:
            with pytest.raises(BundleDowngradeError):
                self.device.open(path, reinstall=person)
            return
        elif sequence == self.serving:
            self.failed = min(self.failed, 1)
        elif sequence == self.before and self.failed_counts:
            self.serving, self.before, self.failed, self.reverted = sequence, 0, 0, 0
        else:
            if not self.failed_counts:
                self.before = self.serving
            self.serving, self.failed, self.reverted, self.on_trial = sequence, 1, 0, True
        self.session = self.device.open(path, reinstall=person)

    # -- what must hold

    @invariant()
    def it_is_as_expected(self) -> None:
        if getattr(self, "session", None) is None:
            return
        assert self.session is not None
        status = self.session.status()
        assert status["bundle"]["sequence"] == self.serving
        assert status["bundle"]["confirmed"] != self.failed_counts
        assert {sample.id: sample.label for sample in self.session.samples()} == self.samples
        assert status["quarantined"] == 0 and status["kept_aside"] == []
        assert len(list((self.device.state / "bundles").iterdir())) <= 2
        assert "damaged" not in (status["recovered"] or "")

    # -- the model

    on_trial = False

    @property
    def failed_counts(self) -> bool:
        """Whether what serves is on trial."""
        return self.on_trial and self.before != 0

    def _answered(self) -> None:
        self.confirmed = max(self.confirmed, self.serving)
        self.on_trial, self.failed = False, 0

    def _started(self) -> None:
        if not self.failed_counts:
            return
        if self.failed >= 3:
            self.reverted, self.serving = self.serving, self.before
            self.before, self.failed, self.on_trial = 0, 0, False
        else:
            self.failed += 1


TestLife = Life.TestCase
# The nightly profile asks for many more.
TestLife.settings = settings(max_examples=max(15, settings().max_examples // 10), stateful_step_count=20)
