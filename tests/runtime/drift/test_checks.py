"""Every detector and watcher of the tables keeps its contract."""

from __future__ import annotations

import pytest
from edgetl_runtime.drift import DETECTORS, WATCHERS, Adwin, PageHinkley, TestOutcome
from edgetl_runtime.drift.checks import watcher_checks, window_test_checks

CASES = [
    pytest.param(check, id=f"{name}-{check.name}")
    for name, row in DETECTORS.items()
    for check in window_test_checks(row.test)
] + [
    pytest.param(check, id=f"{name}-{check.name}") for name, make in WATCHERS.items() for check in watcher_checks(make)
]


@pytest.mark.parametrize("check", CASES)
def test_promise(check):
    check.run()


class Forgetful(PageHinkley):
    """A watcher that breaks a promise: it forgets its mean when restored."""

    def restore(self, state):
        super().restore({**state, "mean": 0.0})


class Jumpy(Adwin):
    """Another: it cries wolf."""

    def update(self, value):
        return super().update(value) or self.width % 100 == 99


def too_sure(reference, window, generator):
    """A test that breaks a promise: its p-values are a tenth of what they are."""
    outcome = DETECTORS["means"].test(reference, window, generator)
    return TestOutcome(outcome.statistic, outcome.p_value / 10.0)


def failures(checks):
    failed = []
    for check in checks:
        try:
            check.run()
        except AssertionError:
            failed.append(check.name)
    return failed


def test_the_contracts_catch_what_breaks_them():
    assert failures(watcher_checks(Forgetful)) == ["goes_on_bit_for_bit_when_restored"]
    assert failures(watcher_checks(Jumpy))
    assert "keeps_its_level" in failures(window_test_checks(too_sure))
