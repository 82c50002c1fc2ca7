"""T16: a board that runs hot, or is starved, learns later and infers on."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest
from edgetl_runtime.live import HeatGate


class Board:
    """A tree of sysfs whose temperature can be set, and a clock."""

    def __init__(self, root: Path, trips: List[str]) -> None:
        self.root, self.now_s = root, 0.0
        zone = root / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("gpu-thermal\n")
        for number, trip in enumerate(trips):
            kind, celsius = trip.split()
            (zone / f"trip_point_{number}_temp").write_text(f"{celsius}000\n")
            (zone / f"trip_point_{number}_type").write_text(f"{kind}\n")
        self.zone = zone
        self.heat(40.0)

    def heat(self, celsius: float) -> None:
        (self.zone / "temp").write_text(f"{int(celsius * 1000)}\n")

    def power(self, bits: str) -> None:
        path = self.root / "sys/devices/platform/soc/soc:firmware/get_throttled"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{bits}\n")

    def gate(self) -> HeatGate:
        return HeatGate(self.root, clock=lambda: self.now_s)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path, ["active 50", "passive 85", "critical 105"])


def test_learning_pauses_within_a_second_of_the_warning_and_goes_on_with_hysteresis(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    gate, course = board.gate(), []
    #          second: 0   1   2   3   4   5   6   7   8   9
    for celsius in (40, 60, 81, 82.5, 90, 84, 80, 78, 76, 40):
        board.heat(celsius)
        for _ in range(4):
            board.now_s += 0.25
            course.append(bool(gate.reason()))
    seconds = [course[4 * second + 3] for second in range(10)]  # a second after the change at the latest
    assert seconds == [False, False, False, True, True, True, True, True, False, False]
    assert [record.message for record in caplog.records] == [
        "learning waits: gpu-thermal is at 82 degC, and slows the board at 85", "learning goes on: cooler",
    ]  # fmt: skip
    board.heat(99.0)
    board.now_s += 1.0
    assert "gpu-thermal is at 99 degC, and slows the board at 85" in gate.reason()


def test_the_board_s_files_are_read_twice_a_second_at_most(board: Board) -> None:
    gate = board.gate()
    assert gate.reason() == ""
    board.heat(99.0)
    assert gate.reason() == ""  # asked again at once
    board.now_s += 0.5
    assert gate.reason() != ""


@pytest.mark.parametrize(
    ("bits", "reason"),
    [("0", ""), ("50000", ""), ("1", "the supply is too weak"), ("50005", "the supply is too weak"),
     ("4", "the board is throttled"), ("8", "the board is throttled"), ("e0000", ""), ("rubbish", "")],
)  # fmt: skip
def test_a_raspberry_pi_says_itself_that_it_is_starved(board: Board, bits: str, reason: str) -> None:
    board.power(bits)
    assert board.gate().reason() == reason


def test_a_machine_without_such_files_never_waits(tmp_path: Path) -> None:
    assert HeatGate(tmp_path).reason() == ""
    assert Board(tmp_path / "a", ["active 30"]).gate().reason() == ""
    assert Board(tmp_path / "b", ["passive -274"]).gate().reason() == ""
