"""Every row of the table keeps the contract that ships with the package."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from edgetl_runtime.heads import HEADS
from edgetl_runtime.heads.checks import Check, TableLearner, head_checks

# Only to be quick: a thousand classes by descent take many steps.
OPTIONS = {"mlp": {"width": 8, "steps": 60}, "softmax": {"tolerance": 1e-3}}
CASES = [
    pytest.param(check, id=f"{name}-{check.name}")
    for name, row in HEADS.items()
    for check in head_checks(partial(TableLearner, name, **OPTIONS.get(name, {})), exact=row.exact)
]


@pytest.mark.parametrize("check", CASES)
def test_head_keeps_the_contract(check: Check) -> None:
    check.run()


class Forgetful(TableLearner):
    """A learner that breaks a promise: it keeps only the last batch."""

    def learn(self, features, labels):  # type: ignore[no-untyped-def]
        self.__init__("ncm", features.shape[1])  # type: ignore[misc]
        super().learn(features, labels)


class Rounding(TableLearner):
    """Another: what it saves is rounded."""

    def saved(self):  # type: ignore[no-untyped-def]
        arrays, metadata = super().saved()
        return {k: v.astype(np.float32).astype(v.dtype) for k, v in arrays.items()}, metadata


@pytest.mark.parametrize(
    ("make", "broken"),
    [
        (lambda dim: Forgetful("ncm", dim), "learns_one_by_one_as_at_once"),
        (lambda dim: Rounding("slda", dim), "goes_on_bit_for_bit_when_restored"),
    ],
)
def test_the_contract_finds_a_learner_that_breaks_it(make, broken) -> None:  # type: ignore[no-untyped-def]
    failed = []
    for check in head_checks(make, exact=True, many_classes=3):
        try:
            check.run()
        except AssertionError:
            failed.append(check.name)
    assert broken in failed
