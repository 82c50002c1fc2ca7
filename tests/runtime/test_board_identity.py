"""A board is named by its own files, whatever carrier it sits on and however much of them is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from edgetl_runtime.board import BOARDS, read_board

from tests.runtime import boards
from tests.runtime.boards import COMPATIBLE, MODEL, RELEASE, Files, lay_out


@pytest.mark.parametrize(
    ("name", "board", "p_number", "soc", "linux", "jetpack", "python", "cores", "online"),
    [
        ("orin nano", "jetson-orin-nano-8gb", "p3767-0005", "tegra234", "36.4.3", "6.2", "3.10", 6, 6),
        ("agx orin", "jetson-agx-orin-32gb", "p3701-0000", "tegra234", "35.2.1", "5.1", "3.8", 12, 8),
        ("xavier nx", "jetson-xavier-nx", "p3668-0000", "tegra194", "35.4.1", "5.1.2", "3.8", 6, 6),
        ("thor", "jetson-t5000", "p3834-0008", "tegra264", "38.2.0", "7.0", "3.12", 14, 14),
        ("nano", "jetson-nano", "p3448-0000", "tegra210", "32.7.2", "4.6.2", "3.6", 4, 4),
    ],
)
def test_each_jetson_is_named_with_its_jetpack(
    name: str, board: str, p_number: str, soc: str, linux: str, jetpack: str, python: str, cores: int, online: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    found = read_board(lay_out(tmp_path, boards.BOARDS[name]))
    assert (found.identity.board, found.identity.p_number, found.identity.soc) == (board, p_number, soc)
    assert found.identity.model == boards.BOARDS[name][MODEL].decode().rstrip("\0")
    assert p_number in found.identity.because
    assert found.release is not None
    assert (found.release.jetson_linux, found.release.jetpack, found.release.python) == (linux, jetpack, python)
    assert (found.cores, found.online_cores) == (cores, online)
    assert found.unread == () or name == "nano"


@pytest.mark.parametrize(("name", "board"), [("raspberry pi 5", "raspberry-pi-5"), ("x86", "x86-openvino")])
def test_what_is_no_jetson_is_named_too(name: str, board: str, tmp_path: Path) -> None:
    found = read_board(lay_out(tmp_path, boards.BOARDS[name]))
    assert found.identity.board == board and found.identity.row is not None
    assert (found.release, found.power, found.unread) == (None, None, ())
    assert found.identity.model in ("Raspberry Pi 5 Model B Rev 1.0", "NUC11PAHi7")


def test_an_nvidia_driver_makes_x86_a_cuda_machine(tmp_path: Path) -> None:
    driver: Files = {"proc/driver/nvidia/version": b"NVRM version: NVIDIA UNIX x86_64\n"}
    assert read_board(lay_out(tmp_path, {**boards.X86, **driver})).identity.board == "x86-cuda"


@pytest.mark.parametrize(
    ("memory_kb", "board"),
    [(31299608, "jetson-agx-orin-32gb"), (64349248, "jetson-agx-orin-64gb"), (99999999, "jetson-agx-orin-64gb")],
)
def test_memory_decides_where_two_boards_share_a_p_number(memory_kb: int, board: str, tmp_path: Path) -> None:
    found = read_board(lay_out(tmp_path, {**boards.AGX_ORIN, **boards.machine(memory_kb, 12)}))
    assert found.identity.board == board and "GiB" in found.identity.because


def test_a_guess_between_two_boards_says_so(tmp_path: Path) -> None:
    files = {path: data for path, data in boards.AGX_ORIN.items() if path != "proc/meminfo"}
    because = read_board(lay_out(tmp_path, files)).identity.because
    assert "jetson-agx-orin-32gb and jetson-agx-orin-64gb" in because and "could not be read" in because


@pytest.mark.parametrize("row", [row for row in BOARDS if row.p_numbers], ids=lambda row: str(row.id))
def test_every_p_number_of_the_table_is_found_on_any_carrier(row: Any, tmp_path: Path) -> None:
    for i, number in enumerate(row.p_numbers):
        files = boards.device_tree("Some Carrier", f"vendor,carrier-9+{number}", "nvidia,tegra000")
        found = read_board(lay_out(tmp_path / str(i), {**files, **boards.machine(row.memory_mib[-1] * 1000, 4)}))
        assert (found.identity.board, found.identity.p_number) == (row.id, number)


@pytest.mark.parametrize(
    ("compatible", "board"),
    [
        (["nvidia,quill", "nvidia,tegra186"], "jetson-tx2"),
        (["nvidia,galen", "nvidia,p2822-0000+p2888-0001", "nvidia,tegra194"], "jetson-agx-xavier"),
        (["nvidia,galen", "nvidia,jetson-xavier", "nvidia,tegra194"], "jetson-agx-xavier"),
        (["nvidia,p3450-0000", "nvidia,jetson-nano", "nvidia,tegra210"], "jetson-nano"),
        (["raspberrypi,4-model-b", "brcm,bcm2711"], "raspberry-pi-4"),
        (["nvidia,p3768-0000+p3767-9999", "nvidia,tegra234"], None),
        (["raspberrypi,3-model-b", "brcm,bcm2837"], None),
        (["rockchip,rk3588"], "cpu"),
    ],
)  # fmt: skip
def test_compatible_names_a_board_or_nobody_does(compatible: Any, board: Any, tmp_path: Path) -> None:
    found = read_board(lay_out(tmp_path, boards.device_tree("x", *compatible))).identity
    assert found.board == board
    assert (found.row is None) == (board is None)


def test_the_name_of_the_device_tree_file_helps_where_compatible_has_no_number(tmp_path: Path) -> None:
    files = boards.device_tree("quill", "nvidia,something", "nvidia,tegra186")
    files["proc/device-tree/nvidia,dtsfilename"] = b"/dvs/kernel-dts/tegra186-quill-p3310-1000-c03-00-base.dts\0"
    assert read_board(lay_out(tmp_path, files)).identity.p_number == "p3310-1000"


def test_a_copied_tree_is_read_where_the_link_to_the_device_tree_leads_out_of_it(tmp_path: Path) -> None:
    outside = lay_out(tmp_path / "outside", {"model": b"the reader's\0", "compatible": b"nvidia,jetson-nano\0"})
    files = {path.replace("proc/device-tree", "sys/firmware/devicetree/base"): d for path, d in boards.THOR.items()}
    root = lay_out(tmp_path / "root", files)
    (root / "proc/device-tree").symlink_to(outside)
    assert read_board(root).identity.board == "jetson-t5000"


def test_links_inside_the_tree_are_followed(tmp_path: Path) -> None:
    files = {path.replace("sys/class/thermal/thermal", "sys/devices/virtual/thermal/thermal"): data
             for path, data in boards.ORIN_NANO.items()}  # fmt: skip
    root = lay_out(tmp_path, files)
    (root / "sys/class/thermal").mkdir(parents=True)
    for number in (0, 1, 10):
        name = f"thermal_zone{number}"
        (root / "sys/class/thermal" / name).symlink_to(f"../../devices/virtual/thermal/{name}")
    assert [zone.name for zone in read_board(root).zones] == ["cpu-thermal", "gpu-thermal", "tj-thermal"]


@pytest.mark.parametrize(
    ("line", "linux", "jetpack", "python"),
    [
        (b"# R36 (release), REVISION: 4.7, GCID: 1", "36.4.7", "6.2.1", "3.10"),
        (b"# R39 (release), REVISION: 2, GCID: 1", "39.2.0", "7.2", "3.12"),
        (b"# R35 (release), REVISION: 6.9, GCID: 1", "35.6.9", None, "3.8"),
        (b"# R77 (release), REVISION: 1.0, GCID: 1", "77.1.0", None, None),
    ],
)
def test_a_release_that_no_table_has_is_not_taken_for_its_neighbour(
    line: bytes, linux: str, jetpack: Any, python: Any, tmp_path: Path
) -> None:
    release = read_board(lay_out(tmp_path, {**boards.ORIN_NANO, RELEASE: line})).release
    assert release is not None
    assert (release.jetson_linux, release.jetpack, release.python) == (linux, jetpack, python)


def test_an_empty_tree_is_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    found = read_board(tmp_path)
    assert found.identity.board == "cpu"
    assert (found.memory_bytes, found.cores, found.zones, found.power, found.release) == (None, None, (), None, None)
    assert all(any(word in fact for fact in found.unread) for word in ("model", "memory", "thermal", "trip", "cores"))
    assert read_board(tmp_path / "none").identity == found.identity


@pytest.mark.parametrize("path", sorted(boards.ORIN_NANO))
def test_every_missing_file_is_either_named_or_not_missed(path: str, tmp_path: Path) -> None:
    whole = read_board(lay_out(tmp_path / "whole", boards.ORIN_NANO))
    files = {name: data for name, data in boards.ORIN_NANO.items() if name != path}
    found = read_board(lay_out(tmp_path / "less", files))
    needed = {MODEL, RELEASE, boards.MODES, boards.MODE, "proc/meminfo"}
    assert bool(found.unread) == (path in needed or path.endswith("/temp") or "/system/cpu/" in path)
    if path not in (COMPATIBLE, "proc/cpuinfo") and not path.startswith("sys/class"):
        assert found.identity.board == whole.identity.board


def test_this_very_machine_can_be_read() -> None:
    found = read_board()
    assert found.memory_bytes and found.available_bytes and found.available_bytes <= found.memory_bytes
    assert found.identity.because
