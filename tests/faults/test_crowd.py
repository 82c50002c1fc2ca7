"""Two processes cannot spoil one state: one writes, the others are told, readers see what was committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgetl_runtime.errors import StateError

from tests.faults import tiny
from tests.faults.crowd import crowd
from tests.faults.ground import Ground


def test_eight_processes_killed_at_random_spoil_nothing(ground: Ground) -> None:
    outcome = crowd(ground, 40)
    assert outcome.kills > 0 and outcome.reads > 0 and outcome.refusals_s
    assert outcome.violations == []


@pytest.mark.slow
def test_a_thousand_changes_of_eight_processes_killed_at_random(ground: Ground) -> None:
    assert crowd(ground, 1000, seed=1).violations == []


def test_a_crowd_catches_a_lock_that_locks_nobody_out(ground: Ground) -> None:
    assert crowd(ground, 60, mutant="no lock").violations


def test_a_session_does_not_survive_a_fork(ground: Ground, tmp_path: Path) -> None:
    with tiny.opened(tmp_path / "state", ground.bundles / tiny.FIRST) as session:
        child = os.fork()
        if child == 0:
            try:
                session.learn(tiny.frames(1)[0][0], "a")
            except StateError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert session.learn(tiny.frames(1)[0][0], "a") == 1
