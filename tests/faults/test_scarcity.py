"""Without room, memory or the right time a device answers on, and has lost nothing when they come back."""

from __future__ import annotations

import pytest

from tests.faults.ground import Ground
from tests.faults.scarcity import CLOCKS, scarce, told_by_clocks
from tests.runtime.fake_clock import faketime_library


def test_a_full_disk_costs_no_answer_no_sample_and_no_way_back(namespaces: Ground) -> None:
    told = scarce("disk", namespaces, [64, 112, 160, 352, 396, 440, 484, 600, 760])
    assert [line["wrong"] for line in told] == [[]] * 9
    assert all(line["refused"] for line in told) and sum(line["acknowledged"] > 0 for line in told) >= 5


def test_a_full_disk_catches_a_store_that_keeps_no_room(namespaces: Ground) -> None:
    told = scarce("disk", namespaces, [440, 480], "no room kept")
    assert all(any("without room" in what for what in line["wrong"]) for line in told)


def test_files_that_may_not_grow_cost_no_answer_and_no_sample(ground: Ground) -> None:
    told = scarce("file", ground, [4, 32, 40, 64, 100, 200])
    assert [line["wrong"] for line in told] == [[]] * 6
    assert all(line["refused"] for line in told)


def test_a_disk_that_is_read_only_is_read(namespaces: Ground) -> None:
    (told,) = scarce("readonly", namespaces, [0])
    assert told["wrong"] == [] and told["refused"] == "StateError"


def test_a_lack_of_memory_while_learning_leaves_answers_and_state(ground: Ground) -> None:
    told = scarce("memory", ground, [0, 1500, 4000])
    assert [line["wrong"] for line in told] == [[]] * 3
    assert any(line["refused"] for line in told)


@pytest.mark.slow
def test_every_amount_of_room_and_memory(namespaces: Ground) -> None:
    for kind, amounts in (("disk", range(48, 1000, 4)), ("file", range(4, 400, 4)), ("memory", range(0, 16000, 500))):
        assert [line for line in scarce(kind, namespaces, list(amounts)) if line["wrong"]] == []


def test_a_clock_that_jumps_catches_an_order_by_the_clock(ground: Ground) -> None:
    told = told_by_clocks(ground, "order by the clock")
    assert told["right"]["wrong"] == []
    assert told["back in the middle"]["wrong"] != []


def test_a_wrong_clock_changes_no_decision(ground: Ground) -> None:
    told = told_by_clocks(ground)
    for name, life in told.items():
        assert life["wrong"] == [], name
        assert life["view"] == told["right"]["view"], name
    jumps = told["back in the middle"]["stamps"]
    assert jumps != sorted(jumps)
    if faketime_library() is None:
        pytest.skip("no libfaketime here (Debian: apt install faketime); only the clock that jumps was tried")
    assert set(CLOCKS) < set(told)
    assert max(told["1970"]["stamps"]) < 1000  # it was really believed
    assert min(told["in ten years"]["stamps"]) > max(told["right"]["stamps"])
