"""Real file systems, cut at random instants, hold what was acknowledged; and careless writers are seen to lose it."""

from __future__ import annotations

import pytest

from tests.faults.cuts import MOUNTS, cut_power
from tests.faults.ground import Ground
from tests.faults.mutants import CUT_MUTANTS


def test_power_cuts_on_ext4_lose_nothing_that_was_acknowledged(mounting: Ground) -> None:
    outcome = cut_power(mounting, 10, mounts=MOUNTS[1])
    assert outcome.cuts >= 8 and outcome.operations > 10
    assert outcome.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("mounts", MOUNTS)
def test_a_hundred_power_cuts_lose_nothing(mounts: str, mounting: Ground) -> None:
    assert cut_power(mounting, 100, mounts=mounts).violations == []


@pytest.mark.parametrize("mutant", CUT_MUTANTS)
def test_power_cuts_catch(mutant: str, mounting: Ground) -> None:
    assert cut_power(mounting, 20, mounts=MOUNTS[1], mutant=mutant).violations
