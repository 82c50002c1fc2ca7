"""What was seen without labels, on the command line: said, and asked about; nothing changes by reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgetl_runtime.cli import main
from edgetl_runtime.observing import ObservePolicy
from PIL import Image

from tests.runtime import golden


def told(capsys: pytest.CaptureFixture, *arguments: Any) -> Any:
    assert main([*map(str, arguments), "--allow-unsigned"]) == 0
    return capsys.readouterr().out


def test_drift_of_a_state_and_questions_about_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state = tmp_path / "state"
    with golden.opened(state, policy="guarded", observe=ObservePolicy(look_every=10**6)) as session:
        session.observe_many((golden.frames() * 0.6 + 40).astype(np.uint8))
        kept = session.drift()["challengers"]
    assert "covariate shift: the samples themselves look different" in told(capsys, "drift", "--state", state)
    found = json.loads(told(capsys, "drift", "--state", state, "--json"))
    assert found["kind"] == "covariate shift"
    assert [one["adapter"] for one in found["challengers"]] == [one["adapter"] for one in kept] != []
    assert "what is it?" in told(capsys, "ask", "--most", 1, "--state", state)
    asked = json.loads(told(capsys, "ask", "--most", 1, "--json", "--state", state))["questions"]
    answer = told(capsys, "ask", "--question", asked[0]["number"], "--label", "3", "--state", state)
    assert answer.startswith("learnt 1 sample as 3")


def test_drift_of_a_folder_learns_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state, folder = tmp_path / "state", tmp_path / "day"
    golden.opened(state).close()
    folder.mkdir()
    for number, frame in enumerate(golden.frames()[:64]):
        Image.fromarray((frame * 0.6 + 40).astype(np.uint8)).convert("RGB").save(folder / f"{number:03d}.png")
    found = json.loads(told(capsys, "drift", folder, "--gap", 0, "--state", state, "--json"))
    assert (found["samples"], found["kind"], found["labelled"]) == (64, "covariate shift", 0)
    assert "covariate shift" in told(capsys, "drift", folder, "--gap", 0, "--state", state)
    assert json.loads(told(capsys, "drift", "--state", state, "--json"))["kept"] == 0


def test_drift_of_a_folder_of_classes_is_judged_by_them_and_a_live_source_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    state, folder = tmp_path / "state", tmp_path / "100 % #1?"
    golden.opened(state).close()
    for number, (frame, label) in enumerate(zip(golden.frames()[:40], golden.labels())):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).convert("RGB").save(folder / label / f"{number:03d}.png")
    found = json.loads(told(capsys, "drift", folder, "--gap", 0, "--state", state, "--json"))
    assert (found["samples"], found["labelled"]) == (40, 40)
    np.save(tmp_path / "digits.npy", golden.frames()[:4])
    live = f"numpy://{tmp_path / 'digits.npy'}?rate_hz=10&speed=1"
    assert main(["drift", live, "--state", str(state), "--allow-unsigned"]) == 1
    assert "digits.npy is live: `edgetl-runtime run` observes it" in capsys.readouterr().err
