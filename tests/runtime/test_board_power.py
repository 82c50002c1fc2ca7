"""Power modes go by name, and trip points are the board's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgetl_runtime.board import read_board

from tests.runtime import boards
from tests.runtime.boards import MODE, MODES, Files, lay_out


@pytest.mark.parametrize(
    ("name", "current", "default", "names"),
    [
        ("orin nano", "MAXN_SUPER", "25W", ("15W", "25W", "MAXN_SUPER", "7W")),
        ("agx orin", "MODE_30W", "MODE_30W", ("MAXN", "MODE_15W", "MODE_30W", "MODE_50W")),
        ("thor", "120W", "120W", ("MAXN", "120W", "90W", "70W")),
        ("nano", "MAXN", "MAXN", ("MAXN", "5W")),
    ],
)
def test_modes_are_those_of_this_board(name: str, current: str, default: str, names: Any, tmp_path: Path) -> None:
    power = read_board(lay_out(tmp_path, boards.BOARDS[name])).power
    assert power is not None
    assert (power.current, power.default, power.names) == (current, default, names)


def test_a_status_with_a_fan_mode_is_read_as_well(tmp_path: Path) -> None:
    power = read_board(lay_out(tmp_path, boards.XAVIER_NX)).power
    assert power is not None and len(power.names) == 9
    assert (power.current, power.default) == ("MODE_20W_6CORE", "MODE_10W_DESKTOP")


@pytest.mark.parametrize(
    ("conf", "status", "names", "current", "default"),
    [
        (b"< POWER_MODEL NAME=MAXN ID=3 >\n", b"pmode:0003", ("MAXN",), "MAXN", None),
        (b"# < POWER_MODEL ID=0 NAME=OLD >\n<POWER_MODEL ID=0 NAME=NEW>\n", b"pmode:0", ("NEW",), "NEW", None),
        (b"< POWER_MODEL ID=1 NAME=A >\n< PM_CONFIG DEFAULT=1 >\n", b"pmode:0007", ("A",), None, "A"),
        (b"< POWER_MODEL ID=1 NAME=A >\n< POWER_MODEL ID=1 NAME=B >\n", b"pmode:0001", ("A",), "A", None),
        (b"< POWER_MODEL ID=x NAME=A >\n< POWER_MODEL NAME=B >\n", b"pmode:0001", (), None, None),
        (b"\0\xff\xfe" * 9, b"\0", (), None, None),
    ],
)
def test_a_mode_that_the_file_does_not_name_is_not_guessed(
    conf: bytes, status: bytes, names: Any, current: Any, default: Any, tmp_path: Path
) -> None:
    found = read_board(lay_out(tmp_path, {**boards.THOR, MODES: conf, MODE: status}))
    assert found.power is not None
    assert (found.power.names, found.power.current, found.power.default) == (names, current, default)
    assert ("power modes (/etc/nvpmodel.conf)" in found.unread) == (names == ())
    assert ("current power mode (/var/lib/nvpmodel/status)" in found.unread) == (current is None)


def test_zones_come_in_their_order_with_trips_by_temperature(tmp_path: Path) -> None:
    zones = read_board(lay_out(tmp_path, boards.ORIN_NANO)).zones
    assert [(zone.name, zone.celsius) for zone in zones] == [
        ("cpu-thermal", 52.343), ("gpu-thermal", 51.125), ("tj-thermal", 52.343),
    ]  # fmt: skip
    trips = [(trip.kind, trip.celsius) for trip in zones[0].trips]
    assert trips == [("active", 50), ("passive", 99), ("critical", 104)]


@pytest.mark.parametrize("temp", ["", "hot", "1e5", "99999999999", "-274000", "300000", "0x10", "\0", "²"])
def test_a_temperature_that_is_none_is_not_read(temp: str, tmp_path: Path) -> None:
    files: Files = {**boards.NANO, **boards.zone(0, "cpu", temp), **boards.zone(1, "gpu", "41500", ("passive", -274))}
    found = read_board(lay_out(tmp_path, files))
    assert [(zone.name, zone.celsius, zone.trips) for zone in found.zones] == [("cpu", None, ()), ("gpu", 41.5, ())]
    assert any("temperatures" in fact for fact in found.unread)


def test_a_trip_without_a_kind_is_kept_and_a_zone_without_a_name_is_not(tmp_path: Path) -> None:
    files = {**boards.zone(0, "cpu", "1000", ("passive", 90)), **boards.zone(1, "gpu", "1000")}
    del files["sys/class/thermal/thermal_zone0/trip_point_0_type"], files["sys/class/thermal/thermal_zone1/type"]
    (zone,) = read_board(lay_out(tmp_path, files)).zones
    assert [(trip.kind, trip.celsius) for trip in zone.trips] == [("not said", 90)]
