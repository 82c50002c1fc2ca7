"""Every profile holds together, says where each figure is from, and is what the device goes by."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from edgetl_runtime.board import BOARDS
from edgetl_runtime.board.jetpack import GENERATIONS, JETPACKS
from edgetl_runtime.doctor.software import ENGINE_LIBRARIES

from edgetl.cli import main
from edgetl.errors import ProfileError
from edgetl.profiles import (
    VERIFIED,
    DeviceProfile,
    devices_folder,
    load_jetpacks,
    load_profile,
    load_profiles,
    read_jetpacks,
    read_profile,
)

PROFILES = load_profiles()
PROMISED = {
    "jetson-nano", "jetson-tx2", "jetson-xavier-nx", "jetson-agx-xavier", "jetson-orin-nano-4gb",
    "jetson-orin-nano-8gb", "jetson-orin-nx-8gb", "jetson-orin-nx-16gb", "jetson-agx-orin-32gb",
    "jetson-agx-orin-64gb", "jetson-t5000", "jetson-t4000", "raspberry-pi-4", "raspberry-pi-5", "x86-openvino",
    "x86-cuda", "cpu",
}  # fmt: skip

every_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)


def test_there_is_a_profile_for_every_promised_board() -> None:
    assert {profile.id for profile in PROFILES} == PROMISED
    assert len(PROFILES) == len(PROMISED)
    assert load_profile("jetson-orin-nano").id == "jetson-orin-nano-8gb"
    with pytest.raises(ProfileError, match="jetson-orin-nano-4gb"):
        load_profile("jetson")


@every_profile
def test_every_figure_says_where_it_is_from(profile: DeviceProfile) -> None:
    figures = profile.figures()
    plain = {"id", "name", "family", "reach", "aliases", "notes"}
    named = {item.name for item in dataclasses.fields(profile) if getattr(profile, item.name) is not None}
    assert named == plain | set(figures) | set(profile.choices())
    for figure in figures.values():
        assert figure.verified in VERIFIED and len(figure.source) > 5
        assert "[G]" not in figure.source and "ecosystem.md" not in figure.source
    for choice in profile.choices().values():
        assert len(choice.why) > 5
    if profile.family in ("jetson", "raspberry-pi"):
        assert {"soc", "memory_mib", "jetpacks" if profile.family == "jetson" else "compatible"} <= set(figures)
        assert not any(choice.measured for choice in profile.choices().values())  # no board was at hand


@every_profile
def test_figures_are_possible(profile: DeviceProfile) -> None:
    assert set(profile.engines.value) <= set(ENGINE_LIBRARIES)
    assert profile.engines.value[-1] == "onnxruntime" and "fp32" in profile.precisions.value
    for number in profile.p_numbers.value if profile.p_numbers else ():
        assert re.fullmatch(r"p\d{4}-\d{4}", number)
    if profile.memory_mib:
        assert list(profile.memory_mib.value) == sorted(profile.memory_mib.value)
        least = profile.memory_mib.value[0] << 20
        workspace = profile.workspace_bytes.value if profile.workspace_bytes else 0
        assert profile.memory_bytes.value + workspace <= least / 2
    if profile.threads:
        assert profile.cpu_cores and 1 <= profile.threads.value < profile.cpu_cores.value
    if profile.power_w:
        assert profile.power_w.value[0] < profile.power_w.value[1]
    if profile.sm:
        assert profile.family == "jetson" and re.fullmatch(r"\d+\.\d", profile.sm.value)
    if profile.power_modes:
        assert not any(name.isdecimal() for name in profile.power_modes.value)  # names, never numbers
    assert (profile.workspace_bytes is not None) == ("tensorrt" in profile.engines.value)


def test_boards_out_of_reach_say_so() -> None:
    away = {profile.id for profile in PROFILES if profile.reach == "container"}
    assert away == {"jetson-nano", "jetson-tx2"}
    pythons = {row.name: row.python.value for row in load_jetpacks()}
    for profile in PROFILES:
        rows = [pythons[name] for name in profile.jetpacks.value] if profile.jetpacks else ["3.8"]
        assert (set(rows) == {"3.6"}) == (profile.id in away)
        if profile.id in away:
            assert any("Python 3.6" in note and "container" in note for note in profile.notes)


def test_the_device_goes_by_the_same_table() -> None:
    rows = {row.id: row for row in BOARDS}
    assert len(rows) == len(BOARDS) and set(rows) == PROMISED
    for profile in PROFILES:
        row = rows[profile.id]
        assert (row.name, row.reach, row.engines) == (profile.name, profile.reach, profile.engines.value)
        assert row.threads == (profile.threads.value if profile.threads else None)
        assert row.workspace_bytes == (profile.workspace_bytes.value if profile.workspace_bytes else None)
        for ours, theirs in (
            (row.p_numbers, profile.p_numbers),
            (row.compatible, profile.compatible),
            (row.memory_mib, profile.memory_mib),
        ):
            assert ours == (theirs.value if theirs else ())


def test_a_p_number_leads_to_one_board_or_memory_tells_them_apart() -> None:
    seen: dict[str, list[DeviceProfile]] = {}
    for profile in PROFILES:
        for key in (profile.p_numbers.value if profile.p_numbers else ()) + (
            profile.compatible.value if profile.compatible else ()
        ):
            seen.setdefault(key, []).append(profile)
    for key, profiles in seen.items():
        sizes = [profile.memory_mib.value for profile in profiles if profile.memory_mib]
        assert len(profiles) == 1 or len(set(sizes)) == len(profiles), key


def test_the_device_goes_by_the_same_jetpacks() -> None:
    releases: dict[str, str] = {}
    for row in load_jetpacks():
        for figure in row.figures().values():
            assert figure.verified in VERIFIED and len(figure.source) > 5
        for linux, jetpack in row.releases.value.items():
            assert linux not in releases and jetpack.startswith(row.name)
            generation = GENERATIONS[linux.split(".")[0]]
            assert (generation.python, generation.ubuntu) == (row.python.value, row.ubuntu.value)
            releases[linux] = jetpack
    assert releases == JETPACKS
    assert {linux.split(".")[0] for linux in releases} == set(GENERATIONS)


def test_the_jetpacks_of_the_design_are_there() -> None:
    rows = {row.name: row for row in load_jetpacks()}
    for name, python, tensorrt in (("5.1", "3.8", "8.5.2"), ("6.2", "3.10", "10.3.0"), ("7.2", "3.12", "10.16.2")):
        figure = rows[name].tensorrt
        assert rows[name].python.value == python and figure and figure.value.startswith(tensorrt)


GOOD = """
id = "board"
name = "A board"
family = "cpu"
reach = "native"
[figures.cpu_cores]
value = 4
source = "a data sheet"
verified = "datasheet"
[choices]
engines = { value = ["onnxruntime"], why = "runs", measured = false }
precisions = { value = ["fp32"], why = "runs", measured = false }
memory_bytes = { value = 1, why = "small", measured = false }
state_bytes = { value = 1, why = "small", measured = true }
"""


def write(folder: Path, text: str, name: str = "board.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_good_profile_is_read_as_it_stands(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path, GOOD))
    assert profile.cpu_cores is not None and profile.cpu_cores.value == 4 and profile.sm is None
    assert (profile.engines.value, profile.state_bytes.measured, profile.aliases) == (("onnxruntime",), True, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "colour = 'red'\n", "unknown colour"),
        ('verified = "datasheet"', 'verified = "datasheet"\npage = 3', "cpu_cores: unknown page"),
        ("[figures.cpu_cores]", "[figures.cpu_coers]", "figures: unknown cpu_coers"),
        ("[figures.cpu_cores]", "[figurines.cpu_cores]", "unknown figurines"),
        ('source = "a data sheet"', "", "source is missing"),
        ('source = "a data sheet"', 'source = " "', "expected str"),
        ('verified = "datasheet"', "", "verified is missing"),
        ('verified = "datasheet"', 'verified = "guessed"', "expected one of datasheet, measured, community"),
        ("value = 4", "value = 4.5", "expected int"),
        ("value = 4", "value = true", "expected int"),
        ("value = 4", "value = -4", "no size, count or rate"),
        ("value = 4", 'value = "4"', "expected int"),
        ('"onnxruntime"', "", "not empty"),
        ('"fp32"', '"fp32", "fp32"', "repeats itself"),
        ('"fp32"', '"fp4"', "no such precision"),
        ("engines =", "engine =", "unknown engine"),
        ("memory_bytes = { value = 1, why", "memory_bytes = { value = 1, because", "why is missing"),
        ("measured = true", "measured = 1", "expected bool"),
        ('id = "board"', 'id = "bread"', "expected 'board', after the file"),
        ('id = "board"', 'id = "board"\naliases = ["A Board"]', "is no id"),
        ('reach = "native"', 'reach = "far"', "expected one of native, container"),
        ("id =", "id", "cannot read the profile"),
        ("value = 4", "value = nan", "expected int"),
    ],
)
def test_a_profile_that_does_not_hold_together_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1) if old else new + GOOD
    with pytest.raises(ProfileError, match=re.escape(words)):
        read_profile(write(tmp_path, text))


def test_a_missing_choice_and_an_unreadable_file_are_named(tmp_path: Path) -> None:
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith("engines"))
    with pytest.raises(ProfileError, match=r"choices\.engines is missing"):
        read_profile(write(tmp_path, text))
    with pytest.raises(ProfileError, match="cannot read"):
        read_profile(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ProfileError, match="cannot read"):
        read_profile(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[jetpack.python]", "[jetpack.pyhton]", "unknown pyhton"),
        ('name = "5.0"', 'name = "5.1"', "two rows have one name"),
        ('"35.1.0" = "5.0.2"', '"35.1.0" = 5', "releases maps"),
        ('verified = "community"', 'verified = "hearsay"', "expected one of"),
        ("[[jetpack]]", "[other]\n[[jetpack]]", "unknown other"),
    ],
)
def test_a_jetpack_matrix_that_does_not_hold_together_is_refused(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    text = (devices_folder() / "jetpack.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ProfileError, match=re.escape(words)):
        read_jetpacks(write(tmp_path, text.replace(old, new, 1), "jetpack.toml"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["devices", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_lists_every_board_and_shows_one_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    table = run(capsys)
    for profile in PROFILES:
        assert any(line.split()[0] == profile.id for line in table.splitlines())
    full = run(capsys, "jetson-nano")
    profile = load_profile("jetson-nano")
    for record in (*profile.figures().values(), *profile.choices().values()):
        assert getattr(record, "source", None) or record.why
        assert (getattr(record, "source", None) or record.why) in full
    assert "Python 3.6, out of reach" in full


def test_json_has_every_figure_with_its_source_and_no_null(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run(capsys, "--json"))
    assert [device["id"] for device in document["devices"]] == [profile.id for profile in PROFILES]
    assert len(document["jetpacks"]) == len(load_jetpacks())
    one = json.loads(run(capsys, "jetson-thor", "--json"))
    assert one["memory_gb_s"] == {"value": 273.0, "source": "RidgeRun wiki, Jetson Thor", "verified": "community"}
    assert None not in one.values() and one in document["devices"]


def test_an_unknown_board_is_an_error_that_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "jetson-tx1"]) == 1
    err = capsys.readouterr().err
    assert "jetson-tx2" in err and len(err.splitlines()) == 1
