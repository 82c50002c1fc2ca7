"""A damaged state starts and predicts; what it cannot answer as before, it says."""

from __future__ import annotations

import pytest

from tests.faults.damage import BASES, KINDS, Damage, harm
from tests.faults.ground import Ground


def plan(count: int, kinds: tuple[str, ...] = tuple(KINDS)) -> list[Damage]:
    return [Damage(kind, base, number) for kind in kinds for base in BASES for number in range(count)]


def test_every_damaged_state_starts_and_none_answers_otherwise_in_silence(ground: Ground) -> None:
    outcomes = harm(ground, plan(30))
    assert set(outcomes) == set(KINDS)
    for kind, outcome in outcomes.items():
        assert outcome.violations == [], kind
        assert outcome.started == outcome.cases or kind == "a bit of the bundle"
    assert outcomes["a bit of the live head"].noted == 2 * 30
    assert outcomes["a bit of the bundle"].started == 0


@pytest.mark.slow
def test_thousands_of_damaged_states_start(ground: Ground) -> None:
    for kind, outcome in harm(ground, plan(1000)).items():
        assert outcome.violations == [], kind


def test_flipped_bits_catch_a_missing_hash_check(ground: Ground) -> None:
    assert harm(ground, plan(30, ("a bit of the live head",)), "no hash check")["a bit of the live head"].silent > 0
