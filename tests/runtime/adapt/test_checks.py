"""Every adapter of the table keeps the contract of an adapter."""

from __future__ import annotations

from functools import partial

import pytest
from edgetl_runtime.adapt import ADAPTERS, adapt
from edgetl_runtime.adapt.checks import adapter_checks

CASES = [
    pytest.param(check, id=f"{name}-{check.name}")
    for name, row in ADAPTERS.items()
    for check in adapter_checks(partial(adapt, name), row)
]


@pytest.mark.parametrize("check", CASES)
def test_promise(check):
    check.run()
