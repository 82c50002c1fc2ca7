"""Every detector and watcher of the tables keeps its contract."""

from __future__ import annotations

import pytest
from edgetl_runtime.drift import DETECTORS, WATCHERS
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
