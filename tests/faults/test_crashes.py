"""A power cut at any point of any operation leaves what was acknowledged, and never a mixture."""

from __future__ import annotations

import pytest

from tests.faults.crashes import simulate
from tests.faults.disk import Cut, Disk
from tests.faults.ground import Ground
from tests.faults.mutants import CRASH_MUTANTS, MUTANTS
from tests.faults.scripts import DAILY, SCRIPTS
from tests.faults.tracing import Op, Recording


@pytest.mark.parametrize("name", DAILY)
def test_nothing_acknowledged_is_lost_in_a_cut_nor_in_a_cut_of_the_start_after_it(name: str, traced: Ground) -> None:
    outcome = simulate(name, traced, draws=4, restarts=2, restart_draws=2, most=40)
    assert outcome.distinct > 10
    assert outcome.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_lost_in_a_thousand_cuts_of_each_operation(name: str, traced: Ground) -> None:
    outcome = simulate(name, traced, draws=24, restarts=20, restart_draws=8, most=1000)
    assert outcome.violations == []


@pytest.mark.parametrize("mutant", CRASH_MUTANTS)
def test_the_simulation_catches(mutant: str, traced: Ground) -> None:
    assert simulate(MUTANTS[mutant].script, traced, draws=6, mutant=mutant, most=150).violations


# -- the disk that is simulated


def states(*ops: Op, files: dict[str, bytes] | None = None, draws: int = 64) -> list[dict[str, bytes]]:
    """All distinct states after a cut when everything was done."""
    disk = Disk(Recording(files or {}, frozenset([""]), ops))
    last = len(ops) - 1
    cuts = [Cut(last, names, draw) for names in disk.prefixes(last) for draw in range(draws)]
    return list({disk.key(cut): disk.state(cut)[0] for cut in cuts}.values())


def test_what_was_synced_with_its_name_is_the_only_state() -> None:
    ops = (Op("create", "f"), Op("write", "f", data=b"new"), Op("sync", "f"), Op("syncdir", ""))
    assert states(*ops) == [{"f": b"new"}]


def test_a_synced_file_may_lack_its_name() -> None:
    found = states(Op("create", "f"), Op("write", "f", data=b"new"), Op("sync", "f"))
    assert {} in found and {"f": b"new"} in found and len(found) == 2


def test_an_unsynced_write_may_be_there_or_not_or_anything_else_of_its_length() -> None:
    found = [state["f"] for state in states(Op("write", "f", data=b"new"), files={"f": b"old"})]
    assert {b"old", b"new", b"\0\0\0"} < set(found)
    assert all(len(data) == 3 for data in found) and len(found) > 4  # garbage too


def test_unsynced_writes_reach_the_disk_in_any_order() -> None:
    ops = (Op("write", "f", offset=0, data=b"A" * 512), Op("write", "f", offset=512, data=b"B" * 512))
    found = [state["f"] for state in states(*ops, files={"f": b"-" * 1024})]
    assert b"A" * 512 + b"-" * 512 in found and b"-" * 512 + b"B" * 512 in found


def test_a_rename_is_never_half_done() -> None:
    ops = (Op("rename", "new", "f"),)
    assert sorted(map(repr, states(*ops, files={"f": b"old", "new": b"new"}))) == sorted(
        map(repr, [{"f": b"old", "new": b"new"}, {"f": b"new"}])
    )


def test_a_later_sync_does_not_take_back_an_earlier_one() -> None:
    ops = (Op("write", "f", data=b"1"), Op("sync", "f"), Op("write", "f", offset=1, data=b"2"))
    assert all(state["f"][:1] == b"1" for state in states(*ops, files={"f": b""}))
