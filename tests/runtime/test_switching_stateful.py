"""Any order of installing bundles of different features, learning, forgetting, dying: each keeps what is its own."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

import pytest

pytest.importorskip("cryptography")

from edgetl_runtime.session import Session
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.runtime import golden
from tests.runtime.test_switching import Shop

FRAMES, LABELS = golden.frames(), golden.labels()
NAMES = ("first", "second", "third")
_FOLDER: List[Path] = []


def bundles() -> Path:
    """Three signed bundles of different features, made once."""
    if not _FOLDER:
        folder = Path(tempfile.mkdtemp(prefix="bundles-"))
        device = Shop(folder)
        for name, digit in zip(NAMES, "ace"):
            shutil.move(str(device.other(name, digit)), str(folder / f"{name}.edgetl"))
        _FOLDER.append(folder)
    return _FOLDER[0]


class Life(RuleBasedStateMachine):
    """One device with several bundles, and beside it what a person would expect of it."""

    @initialize()
    def begin(self) -> None:
        logging.disable(logging.CRITICAL)
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.device = Shop(self.folder)
        self.samples: Dict[str, Dict[int, str]] = {name: {} for name in NAMES}
        self.serving, self.before = NAMES[0], ""  # "": what serves has answered
        self.failed = self.newest = 0
        self.session: Optional[Session] = self.device.open(bundles() / "first.edgetl")
        self.session.confirm()

    def teardown(self) -> None:
        if getattr(self, "session", None) is not None:
            assert self.session is not None
            self.session.close()
        logging.disable(logging.NOTSET)
        shutil.rmtree(str(self.folder), ignore_errors=True)

    @precondition(lambda self: self.session is not None)
    @rule(count=st.integers(1, 3), kept=st.booleans())
    def learn(self, count: int, kept: bool) -> None:
        assert self.session is not None
        chosen = [(self.newest + i) % 100 for i in range(count)]
        ids = self.session.learn_many(FRAMES[chosen], [LABELS[i] for i in chosen])
        assert min(ids) > self.newest
        self.newest = max(ids)
        self.samples[self.serving].update((number, LABELS[i]) for number, i in zip(ids, chosen))
        self.before = ""

    @precondition(lambda self: self.session is not None and any(self.samples.values()))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        assert self.session is not None
        number = data.draw(st.sampled_from(sorted(number for held in self.samples.values() for number in held)))
        assert self.session.forget(number) == 1
        for held in self.samples.values():
            held.pop(number, None)

    @precondition(lambda self: self.session is not None)
    @rule()
    def answer(self) -> None:
        assert self.session is not None
        self.session.confirm()
        self.before = ""

    @precondition(lambda self: self.session is not None)
    @rule(orderly=st.booleans())
    def end(self, orderly: bool) -> None:
        assert self.session is not None
        if orderly:
            self.session.close()
            self.failed = 0
        else:
            self.session._release()  # what SIGKILL leaves
        self.session = None

    @precondition(lambda self: self.session is None)
    @rule()
    def start(self) -> None:
        if self.before:
            if self.failed >= 3:
                self.serving, self.before = self.before, ""
            else:
                self.failed += 1
        self.session = self.device.open(None)

    @precondition(lambda self: self.session is None)
    @rule(name=st.sampled_from(NAMES))
    def install(self, name: str) -> None:
        if name == self.serving:
            self.failed = min(self.failed, 1)
        elif name == self.before:
            self.serving, self.before = name, ""
        else:
            self.before = self.before or self.serving
            self.serving, self.failed = name, 1
        self.session = self.device.open(bundles() / f"{name}.edgetl", reinstall=True)

    @invariant()
    def it_is_as_expected(self) -> None:
        if getattr(self, "session", None) is None:
            return
        assert self.session is not None
        status = self.session.status()
        assert status["bundle"]["name"] == self.serving
        assert status["bundle"]["confirmed"] == (not self.before)
        assert {sample.id: sample.label for sample in self.session.samples()} == self.samples[self.serving]
        assert status["quarantined"] == 0 and status["kept_aside"] == []


TestLife = Life.TestCase
# The nightly profile asks for many more.
TestLife.settings = settings(max_examples=max(10, settings().max_examples // 10), stateful_step_count=20)
