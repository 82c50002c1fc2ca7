"""`make bad-input` keeps its promise: each bad input has a typed error with words, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bad_input import CASES, run_case


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_answered_and_loses_nothing(name: str, tmp_path: Path) -> None:
    answer = run_case(name, tmp_path)
    assert answer.faults == (), answer.message


def test_a_case_that_goes_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is judged: another error, or a loss, is a fault."""
    _, act = CASES["device: an empty label"]
    monkeypatch.setitem(CASES, "wrong", ("SampleError", act))
    assert run_case("wrong", tmp_path / "a").faults == ("expected SampleError, got LabelError",)
    from benchmarks import bad_input

    monkeypatch.setitem(CASES, "loses", (None, bad_input._device(lambda session: session.forget(1))))
    faults = run_case("loses", tmp_path / "b").faults
    assert "lost: samples in memory" in faults and "lost: samples on disk" in faults
