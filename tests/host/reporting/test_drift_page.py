"""The page of a recorded stream holds what was measured, and needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgetl.cli import main
from edgetl.errors import EdgetlError
from edgetl.reporting.drift_page import drift_page, read_rehearsal
from tests.host.changed_json import changed

RIGHT = {"live": 0.9, "guard": 0.9}


def measured() -> dict:
    steps = [
        {
            "samples": 32 * (turn + 1), "stamp_s": float(turn), "kind": "none" if turn < 2 else "covariate shift",
            "why": "why", "independent": 32, "newest": 32, "tests": {"features": 0.5 / 10**turn, "labels": 0.2},
            "follows": None, "refused": {},
            "changes": {"live": 0.0, "guard": 0.0, **({"coral": 0.4} if turn > 1 else {})},
            "right": {**RIGHT, **({"coral": 0.25} if turn > 1 else {})}, "labels": 32,
        }
        for turn in range(4)
    ]  # fmt: skip
    decision = {"samples": 96, "stamp_s": 2.0, "decision": "covariate shift", "adapter": "", "reason": "<features> go"}
    return {
        "recording": "day.mcap", "bundle": "birds", "samples": 128, "labelled": 128, "judge_every": 5,
        "kind": "covariate shift", "words": "the samples themselves look different", "why": "features differ",
        "follows": None, "challengers": [], "refused": {"prototypes": "its answers collapse"}, "verdict": None,
        "steps": steps, "decisions": [decision],
    }  # fmt: skip


def test_the_page_shows_tests_adapters_and_decisions_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "day.json").write_text(json.dumps(measured()))
    assert main(["drift", str(tmp_path / "day.json"), "--out", str(tmp_path / "day.html")]) == 0
    text = (tmp_path / "day.html").read_text(encoding="utf-8")
    for said in ("Drift in day.mcap", "-log10 p", "coral", "25", "&lt;features&gt; go", "its answers collapse"):
        assert said in text
    assert not re.search(r"<script|https?://|src=", text)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({**measured(), "steps": []})])
def test_another_file_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "day.json").write_text(content)
    assert main(["drift", str(tmp_path / "day.json"), "--out", str(tmp_path / "day.html")]) == 1
    assert "edgetl drift" in capsys.readouterr().err and not (tmp_path / "day.html").exists()


def test_a_file_with_any_value_of_another_kind_is_drawn_or_refused(tmp_path: Path) -> None:
    refused = 0
    for document in changed(measured()):
        (tmp_path / "day.json").write_text(json.dumps(document))
        try:
            assert drift_page(read_rehearsal(tmp_path / "day.json")).startswith("<!DOCTYPE html>")
        except EdgetlError:
            refused += 1
    assert refused > 100
    (tmp_path / "day.json").write_text("[" * 100_000)
    with pytest.raises(EdgetlError, match="cannot be read"):
        read_rehearsal(tmp_path / "day.json")
