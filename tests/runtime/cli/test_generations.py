"""review, history and rollback as a field engineer types them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Tuple

import pytest
from edgetl_runtime.cli import main
from PIL import Image

from tests.runtime import golden

FRAMES, LABELS = golden.frames(), golden.labels()
NINE = LABELS.index("9")


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    state = str(tmp_path / "state")
    for i in (0, 1, 2, NINE):
        Image.fromarray(FRAMES[i]).save(str(tmp_path / f"{i}.png"))

    def run(*arguments: Any) -> Tuple[int, str, str]:
        code = main([*map(str, arguments), "--state", state, "--allow-unsigned"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert run("install", golden.BUNDLE)[0] == 0
    return run


def test_a_label_that_waits_is_said_and_a_person_may_say_yes(say: Any, tmp_path: Path) -> None:
    code, out, _ = say("learn", tmp_path / "0.png", "--label", LABELS[0])
    assert code == 0 and "learnt and not live yet: 1; `edgetl-runtime review`" in out
    code, out, _ = say("review")
    assert code == 0 and "stays" in out and "learnt and not live: 1" in out
    assert json.loads(say("review", "--json")[1])["decision"] == "keep"
    code, out, _ = say("review", "--accept")
    assert code == 0 and out.startswith("generation 1 went live: accepted by hand")
    assert "go back to  0, 1" in say("status")[1]


def test_by_hand_the_guard_asks_and_says_how_to_answer(say: Any, tmp_path: Path) -> None:
    document = json.loads(say("learn", tmp_path / f"{NINE}.png", "--label", "9", "--policy", "manual", "--json")[1])
    assert (document["generation"], document["waiting_samples"]) == (0, 1)
    code, out, _ = say("review", "--policy", "manual")
    assert code == 0 and "asks: new class 9" in out and "edgetl-runtime review --accept" in out


def test_what_is_taught_on_purpose_is_live(say: Any, tmp_path: Path) -> None:
    out = say("learn", tmp_path / "1.png", "--label", LABELS[1], "--teach", "--json")[1]
    assert json.loads(out)["generation"] == 1


def test_going_back_says_from_where_to_where_and_what_waits(say: Any, tmp_path: Path) -> None:
    say("learn", tmp_path / f"{NINE}.png", "--label", "9")
    code, out, _ = say("rollback")
    assert code == 0 and "went back from generation 1 to the factory head" in out and "learnt and not live: 1" in out
    assert json.loads(say("rollback", "--to", 1, "--json")[1]) == {"from": 0, "generation": 1, "waiting_samples": 0}
    code, out, err = say("rollback", "--to", 7)
    assert code == 1 and out == "" and "generation 7 is not there" in err and "These can: 0, 1" in err
    say("rollback", "--to", 0)
    code, _, err = say("rollback")
    assert code == 1 and "nothing before it" in err


def test_history_is_words_and_data(say: Any, tmp_path: Path) -> None:
    say("learn", tmp_path / f"{NINE}.png", "--label", "9")
    say("rollback")
    say("forget", "--label", "9")
    code, out, _ = say("history")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 5
    assert "installed digits-0-to-8" in lines[0]
    assert "generation 1 went live: it learnt from 1 sample here. new class 9" in lines[1]
    assert "because a person said so" in lines[2]
    assert "forgot label 9: 1 sample; generations that knew them are gone: 1" in lines[3]
    assert lines[4] == "live now: the factory head"
    document = json.loads(say("history", "--last", 3, "--json")[1])
    assert [entry["kind"] for entry in document["history"]] == ["promote", "rollback", "forget"]
    assert document["history"][0]["evidence"]["policy"] == "guarded"
    assert (document["generation"], document["history"][0]["generation"]) == (0, 1)


@pytest.mark.parametrize("stamp", ["9e999", "-1e300", "1e18"])
def test_a_stamp_that_no_clock_gave_is_told_as_that(stamp: str, say: Any, tmp_path: Path) -> None:
    with sqlite3.connect(next(tmp_path.rglob("state.sqlite"))) as database:
        database.execute(f"UPDATE events SET wall_s = {stamp}")
    code, out, _ = say("history")
    assert code == 0 and out.startswith("at no known time  installed digits-0-to-8")


@pytest.mark.parametrize(
    "arguments", [["rollback", "--to", "x"], ["history", "--last", "0"], ["review", "--policy", "x"]], ids=" ".join
)
def test_wrong_usage_is_exit_code_2(arguments: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: edgetl-runtime" in capsys.readouterr().err
