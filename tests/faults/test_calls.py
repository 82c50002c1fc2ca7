"""Whatever system call fails: a typed error or a clean death, the same answers, and a state that goes on."""

from __future__ import annotations

import pytest

from tests.faults.calls import FAULTS, CallOutcome, Fault, Server, cases_of, fail_calls, fail_one
from tests.faults.ground import Ground
from tests.faults.scripts import DAILY, SCRIPTS


@pytest.mark.parametrize("name", DAILY)
def test_a_failed_call_costs_nothing_that_was_acknowledged(name: str, server: Server) -> None:
    outcome = fail_calls(server, [name], every=61)
    assert outcome.fired > 3
    assert outcome.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_fourth_failed_call_costs_nothing(name: str, server: Server) -> None:
    outcome = fail_calls(server, [name], every=4)
    assert outcome.violations == []


def test_the_failed_calls_are_those_that_change_a_state(server: Server) -> None:
    cases = cases_of("install", server)
    assert {"openat", "pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "mkdir"} <= {c.call for c in cases}
    assert {case.fault for case in cases} == {fault for faults in FAULTS.values() for fault in faults} - {"EINVAL"}


def test_a_fault_that_does_not_fire_is_told(server: Server) -> None:
    outcome = CallOutcome()
    fail_one(Fault("trust", "rename", "EIO", 999), server, outcome)
    assert outcome.fired == 0 and "did not fire" in outcome.violations[0]


def test_failed_calls_catch_a_short_write_that_is_ignored(traced: Ground) -> None:
    with Server(traced, "short write ignored") as server:
        outcome = fail_calls(server, ["trust"], calls="write")
    assert any("ERROR BundleSignatureError" in what for what in outcome.violations)
