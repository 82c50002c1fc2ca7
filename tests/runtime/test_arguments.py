"""A number behind an option is within its limits, or refused by name; no command takes what it would stumble over."""

from __future__ import annotations

import argparse
from typing import Any, Callable

import pytest
from edgetl_runtime.arguments import MOST_WHOLE, number, whole
from edgetl_runtime.cli import main

WRONG = ["", " ", "x", "1.5", "1_0", "\u00b2", "\u0661", "nan", "0x1", "--1", "9" * 5000]


@pytest.mark.parametrize("text", [*WRONG, "0", "-1", "1000000001"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 1 to 1") as refused:
        whole()(text)
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (whole(), "1", 1), (whole(), "+7", 7), (whole(0, MOST_WHOLE), str(MOST_WHOLE), MOST_WHOLE),
        (number(), "0", 0.0), (number(more=True), "1e-9", 1e-9), (number(-1e9), "-2.5", -2.5),
    ],
)  # fmt: skip
def test_what_is_within_its_limits_is_taken(parse: Callable[[str], Any], text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (number(), "-0.1"), (number(), "nan"), (number(), "inf"), (number(), "1e10"), (number(more=True), "0"),
        (number(-1e9), "-inf"), (number(), "x"), (whole(0, MOST_WHOLE), str(MOST_WHOLE + 1)),
        (whole(1, 1024), "1025"),
    ],
)  # fmt: skip
def test_what_is_beyond_its_limits_is_refused(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a"):
        parse(text)


COMMANDS = {
    "run dir://x": ["for", "smooth", "unknown", "labels-per-s", "thin", "remember-mb", "keep-raw", "stride", "rate-hz"],
    "record dir://x --out x.mcap": ["for"], "learn x": ["per-class", "seed", "keep-raw"], "history": ["last"],
    "explain x": ["neighbours"], "ask": ["most", "question"], "drift x": ["gap", "every", "judge-every"],
    "bench x": ["runs", "threads"], "rollback": ["to"],
}  # fmt: skip


@pytest.mark.parametrize("option", [f"{command} --{name}" for command, names in COMMANDS.items() for name in names])
def test_every_number_of_every_command_is_looked_at(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("nan", "-inf", "1e400", "9" * 30, "\u00b2"):
        with pytest.raises(SystemExit) as ended:
            main([*option.split()[:-1], f"{option.split()[-1]}={value}"])
        said = capsys.readouterr().err
        assert ended.value.code == 2 and "expected a " in said, said
